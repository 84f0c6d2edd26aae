"""The code that runs on nodes: standard library only, Python 3.7 or later, sent over the link as a bundle, never installed."""
