"""The Textual front end: it draws snapshots and asks the services. No SSH, no parsing, no decisions about engines."""
