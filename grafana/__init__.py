"""The source of the Grafana dashboards. `python -m grafana.generate` writes their JSON to `dashboards/`.

The exporter does not import this package. The dashboards take words and metric names from the exporter, so that they
cannot lack one.
"""
