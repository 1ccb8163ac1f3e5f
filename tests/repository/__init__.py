"""Tests of the repository as a whole: architecture, documents, locks and the wheel."""
