"""Live streams: frames go up one by one, and each of them is answered once, in order."""
