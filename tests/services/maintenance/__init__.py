"""Tests of `console/services/maintenance`."""
