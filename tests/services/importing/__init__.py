"""Tests of `console/services/importing`."""
