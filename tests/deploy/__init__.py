"""Tests of what is deployed: alerts, image, compose, chart, manifests and the systemd unit."""
