"""Tests of the pure core: the same input always gives the same output, so no server and no clock is needed."""
