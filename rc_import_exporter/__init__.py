"""Prometheus exporter for Rocket.Chat's import service."""

__version__ = "0.1.0"
