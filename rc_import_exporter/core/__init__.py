"""What is known of imports, and what it means: the API's words, the snapshot that polls are folded into, the verdict on
each operation, the schedule, and the advice. Pure: no I/O, no clock, no randomness; `now` is an argument.

Imports `errors` and nothing else of the project.
"""
