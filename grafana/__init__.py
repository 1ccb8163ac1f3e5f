"""The dashboards: their source, and in `dashboards/` the JSON that `python -m grafana.generate` makes of it.

Nothing of the exporter imports this. It reads the words of the API from the package, so that no dashboard can lack one.
"""
