"""Tests of `console/services/evaluation`."""
