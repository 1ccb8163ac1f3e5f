"""Tests of the HTTP client against real servers on loopback, and of the parser."""
