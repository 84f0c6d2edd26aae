"""SSH connections, the framed link to each node, and HTTP over SSH. Only this package imports asyncssh and httpx."""
