"""Which node runs which group: pure changes of an assignment, and those of a live session."""
