"""Evaluations as supervised runs: planned, checked, watched, and kept as records."""
