"""The configuration: the options and their values, the three places they come from (flags, environment, YAML file), and
the files, secrets and certificates that they name.

Imports `core` and `errors`.
"""
