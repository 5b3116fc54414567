"""Clips to train on: drawn with exact flow and identities, or real and unlabelled."""
