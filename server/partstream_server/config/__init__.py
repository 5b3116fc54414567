"""Settings of the server, read from the environment."""
