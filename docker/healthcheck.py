"""Exit 0 where the server of this container is ready to parse; the image's HEALTHCHECK runs it."""

import os
import sys
import urllib.request

port = os.environ.get("PARTSTREAM_PORT") or os.environ.get("PORT") or "8000"
try:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
        pass
except OSError as error:  # refused, too slow, or answered with an error
    sys.exit(f"not ready: {error}")
