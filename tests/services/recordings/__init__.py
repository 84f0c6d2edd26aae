"""Tests of `console/services/recordings`."""
