"""Tests of `screens/controllers`."""
