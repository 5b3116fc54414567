"""Files to results: parses videos, images and folders, and writes results, part maps and overlays to disk."""
