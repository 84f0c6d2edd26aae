"""Tests of `console/services/monitoring`."""
