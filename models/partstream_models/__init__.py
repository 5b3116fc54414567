"""Networks, data, training and checkpoints of partstream. Needs torch; the server never imports it."""
