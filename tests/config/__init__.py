"""Tests of the configuration: options, values, files, secrets and certificates."""
