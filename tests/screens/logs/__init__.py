"""Tests of `screens/logs`."""
