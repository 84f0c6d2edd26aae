"""Tests of results: reading, keeping, comparing, drawing and making them."""
