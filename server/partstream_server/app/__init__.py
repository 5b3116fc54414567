"""The command line, and the process that serves: what it starts, in which order, and how it ends."""
