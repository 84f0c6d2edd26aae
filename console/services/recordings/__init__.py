"""What a session saw, kept in a file and shown again."""
