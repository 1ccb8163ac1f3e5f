"""Tests of the exporter and of everything that ships with it. The folders follow those of the package."""
