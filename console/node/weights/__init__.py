"""Programs that carry weights from node to node; each is sent as text and needs Python 3.7 alone."""
