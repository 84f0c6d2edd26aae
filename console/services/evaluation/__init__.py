"""Plans, checks, starts and watches evaluations as supervised runs, and keeps their records."""
