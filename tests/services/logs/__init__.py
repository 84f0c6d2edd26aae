"""Tests of `console/services/logs`."""
