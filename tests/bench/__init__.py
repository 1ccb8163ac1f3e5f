"""Measures what the README says of speed and size: `python -m tests.bench` prints tables. No test depends on it."""
