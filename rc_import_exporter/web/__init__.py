"""The exporter's own HTTP server: `/metrics`, the pages for people, and the JSON API.

Imports `metrics` and `core`.
"""
