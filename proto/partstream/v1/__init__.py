"""Version 1 of the wire: `results_pb2` holds what was found, `service_pb2` the messages of the service."""
