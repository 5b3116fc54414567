"""Single pictures to train on: composites of cut-out people, backdrops and things, and whole photos."""
