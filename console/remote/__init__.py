"""asyncssh and httpx live here and nowhere else in the product: connections, the framed link, HTTP through SSH."""
