"""Tests of `console/services/placement`."""
