"""Tests of `console/services/serving`."""
