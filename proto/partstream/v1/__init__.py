"""Version 1 of the wire messages; `results_pb2` holds what was found in a frame."""
