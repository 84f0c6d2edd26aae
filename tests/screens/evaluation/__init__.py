"""Tests of `screens/evaluation`."""
