"""`partstream-evaluate rendered`: a benchmark of rendered people in extreme poses."""
