"""Tests of `screens/panes`."""
