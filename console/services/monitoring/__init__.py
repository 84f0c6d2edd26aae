"""What nodes push becomes one snapshot: records, states, ages, paces. Nothing here changes a node."""
