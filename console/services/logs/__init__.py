"""Keeps local, byte-exact copies of the nodes' logs, and reads lines from them. Uses no links."""
