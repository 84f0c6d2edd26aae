"""Tests of the release facts, and the tool that collects them."""
