"""Metrics: pure functions over results and truth."""
