"""Programs that copy weights between nodes; each is sent as text and needs Python 3.7 only."""
