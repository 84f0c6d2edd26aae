"""Node readiness from the command line down to the nodes."""
