"""How one question reaches the server."""
