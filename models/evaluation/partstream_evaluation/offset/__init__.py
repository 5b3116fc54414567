"""`partstream-evaluate offset`: how far masks lie beside people, told by mirrored and flipped pictures."""
