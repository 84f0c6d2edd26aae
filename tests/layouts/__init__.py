"""Tests of files, layouts, commands and rules."""
