"""Tests of `console/services/operations`."""
