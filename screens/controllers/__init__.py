"""Controllers run the actions of keys and commands: they show and run plans, and show lists and help. They decide no rule."""
