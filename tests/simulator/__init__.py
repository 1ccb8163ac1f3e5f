"""Tests of the simulated Rocket.Chat servers."""
