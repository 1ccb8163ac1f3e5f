"""Polls each workspace at the right time and puts the results into the store. Each workspace has its own poller.

Imports `rocketchat`, `config` and `core`.
"""
