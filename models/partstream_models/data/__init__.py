"""Photos, composites and batches to train on."""
