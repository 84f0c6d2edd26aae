"""The terms of the field as plain data. Does no I/O and does not parse output of nodes."""
