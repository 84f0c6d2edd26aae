"""Tests of `console/model`."""
