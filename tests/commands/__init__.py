"""Tests of `console/commands`."""
