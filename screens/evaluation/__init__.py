"""The views of the evaluation pane: all runs, one run, a comparison of two, a sweep, the target figures."""
