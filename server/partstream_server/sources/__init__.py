"""Pulled sources: cameras and files that the server fetches by itself, each a live stream of its own."""
