"""x."""

FAULTS = ()
