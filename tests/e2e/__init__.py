"""The whole path on real OpenSSH nodes with the simulated Ascend tools: from a key press or a command to a serving cluster."""
