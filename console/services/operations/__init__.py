"""Plans that change engines, and what runs them step by step. No plan is shown or confirmed here."""
