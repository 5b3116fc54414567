"""The gRPC service: `partstream.v1.ParsingService`, with health and reflection beside it."""
