"""Jobs: files parsed in the background, kept in a data directory, resumed after a restart."""
