"""Long runs: millions of random answers, and weeks of virtual time. A short part of each is a test."""
