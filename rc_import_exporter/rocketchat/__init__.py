"""Sends requests to Rocket.Chat, reads the answers, and says why a call failed.

Imports `config` (credentials) and `core`. Nothing else in the project sends requests to Rocket.Chat.
"""
