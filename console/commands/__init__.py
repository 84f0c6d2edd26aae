"""From a rank to its environment, argv and cmd.sh; every command we ever run on a node is made and quoted here."""
