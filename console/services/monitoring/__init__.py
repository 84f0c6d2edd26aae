"""Keeps what nodes report and builds one snapshot of the cluster from it. Does not change nodes."""
