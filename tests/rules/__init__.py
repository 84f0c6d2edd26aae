"""Tests of `console/rules`."""
