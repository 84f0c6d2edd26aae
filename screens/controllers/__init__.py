"""What keys and words set going from the main screen: plans shown and run, lists, help. No rule is decided here."""
