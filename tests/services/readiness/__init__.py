"""Tests of `console/services/readiness`."""
