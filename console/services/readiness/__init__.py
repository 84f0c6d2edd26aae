"""What must hold on nodes before a launch: what is wanted, what is there, and whether a launch may go on."""
