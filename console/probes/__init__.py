"""Text from a node → facts. Pure parsers over untrusted bytes; no I/O."""
