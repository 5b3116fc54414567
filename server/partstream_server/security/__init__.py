"""Who may call, how often, and over which wire; the same for every entry point."""
