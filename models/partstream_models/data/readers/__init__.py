"""Published data sets in their published layouts, each read into the same record."""
