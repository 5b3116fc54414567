"""`partstream-evaluate`: what the `partstream` command is worth, measured on truth."""
