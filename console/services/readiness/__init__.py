"""Checks nodes before a launch: requirements, containers, releases, network, and the decision about the launch."""
