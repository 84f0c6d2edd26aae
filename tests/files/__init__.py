"""Tests of `console/files`."""
