"""Truth and results in the formats that people keep them in, read and written."""
