"""What REST and gRPC share: the engine's life, admission, uploads, metrics, tracing, errors and draining."""
