"""Pictures without people, and who is seen in them all the same."""
