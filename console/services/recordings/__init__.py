"""Records the snapshots of a session in a file, and replays them."""
