"""The grid: from a snapshot to rows, in which order, with cursor and marks."""
