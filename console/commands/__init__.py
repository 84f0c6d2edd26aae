"""The commands that the console runs on nodes: environment, argv, `cmd.sh` of each rank, and the quoting of all of them."""
