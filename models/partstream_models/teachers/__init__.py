"""Public networks that label pictures for training; offline only, never part of the server."""
