"""Tests of what is said about engines that serve: metrics, hangs, diagnoses, verification."""
