"""Tests of the catalogue and of the metrics page, against golden pages and a real Prometheus."""
