"""Builds plans that change engines, and runs them step by step. Does not show or confirm plans."""
