"""Measures speed and size for the README: `python -m tests.bench` prints tables. No test depends on it."""
