"""Property tests: what holds for every history of a server."""
