"""The subcommands (`check`, `once`, `watch`, `metrics`, `demo`), their flags, and what they print.

Imports everything below `cli`.
"""
