"""The service over HTTP: uploads in, people and parts out."""
