"""Speed runs; not part of the test suite."""
