"""Tests of `screens/grid`."""
