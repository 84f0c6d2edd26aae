"""Who carries what: pure changes of an assignment, and those of a live session."""
