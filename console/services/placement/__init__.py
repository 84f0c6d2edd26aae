"""Assigns nodes to groups: pure changes of an assignment, changes in a live session, and the choice of layouts."""
