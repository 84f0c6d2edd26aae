"""Maintenance of nodes: their containers, weights and host settings, each as a plan of node tasks."""
