"""Accuracy and performance runs: what a result is, how tools' files become one, how results are kept, compared and drawn."""
