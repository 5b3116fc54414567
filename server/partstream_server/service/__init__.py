"""Service layer of REST and gRPC: engine life, admission, uploads, metrics, tracing, errors and draining."""
