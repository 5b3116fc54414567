"""Command-line programs of this distribution."""
