"""What nodes push becomes one picture: records, states, ages, paces. Nothing here changes a node."""
