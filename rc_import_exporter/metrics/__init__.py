"""The catalogue of metrics, and the page that Prometheus scrapes.

Imports `core`. Nothing else in the project imports prometheus_client.
"""
