"""Failure signatures as data and the matcher over log lines."""
