"""Tests of the pollers: scenarios and recordings over real sockets, in virtual time."""
