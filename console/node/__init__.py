"""What runs on a node: standard library only, Python 3.7 or later, sent over the link as a bundle and never installed."""
