"""Probes against captured text."""
