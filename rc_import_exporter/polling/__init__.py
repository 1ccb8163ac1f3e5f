"""Decides when to ask each workspace, asks, and puts the result into the store. One poller for each workspace.

Imports `rocketchat`, `config` and `core`.
"""
