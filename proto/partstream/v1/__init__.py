"""Version 1 of the wire: `results_pb2` is what was found, `service_pb2` and `service_pb2_grpc` the service."""
