"""Laws that hold for every history of a server: property tests."""
