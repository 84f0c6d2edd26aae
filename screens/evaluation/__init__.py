"""What the evaluation pane shows: runs, one run, two compared, a sweep, the figures to reach."""
