"""Tests of the joints: states, plans, logs, pictures."""
