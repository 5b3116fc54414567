"""Networks and the layers they share, one published idea a file."""
