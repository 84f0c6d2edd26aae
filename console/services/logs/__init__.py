"""Local, byte-exact copies of the nodes' logs, and lines read from them. No link enters here."""
