"""API keys, rate limits, origins and TLS, the same for HTTP and gRPC."""
