"""Signatures against logs built around them."""
