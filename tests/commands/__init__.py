"""Tests of the subcommands, as processes and in terminals."""
