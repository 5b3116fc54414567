"""People's masks of bundles beside those of public networks, on the same pictures and the same processor."""
