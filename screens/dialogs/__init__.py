"""Dialogs: the safe choice has the focus, keys are ignored in the first moments, and Enter alone never changes a node."""
