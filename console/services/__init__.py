"""Async joints of the rooms below; they speak model types only."""
