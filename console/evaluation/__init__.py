"""Results of accuracy and performance runs: reads the files of tools, stores, compares and draws results."""
