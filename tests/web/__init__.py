"""Tests of the server, the pages and the JSON API, with real clients and a real browser."""
