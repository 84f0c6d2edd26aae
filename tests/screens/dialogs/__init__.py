"""Tests of `screens/dialogs`."""
