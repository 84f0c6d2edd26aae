"""Tests of `console/services/exporting`."""
