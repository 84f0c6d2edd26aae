"""The grid: the rows of a snapshot, their order, the cursor and the marks."""
