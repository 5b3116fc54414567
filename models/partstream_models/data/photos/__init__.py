"""The CCP street photos: cache, body hints, partial labels, back views."""
