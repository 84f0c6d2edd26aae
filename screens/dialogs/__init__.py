"""Dialogs: the safe choice has the focus, nothing is heard in the first moments, Enter alone never acts on a node."""
