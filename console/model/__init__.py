"""The nouns of the field as plain data: no I/O, no network, no parsing of what a node prints."""
