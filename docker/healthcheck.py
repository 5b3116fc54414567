"""Exit 0 where the server of this container is ready to parse; the image's HEALTHCHECK runs it."""

import os
import ssl
import sys
from http.client import HTTPConnection, HTTPException, HTTPSConnection

port = int(os.environ.get("PARTSTREAM_PORT") or os.environ.get("PORT") or "8000")
if os.environ.get("PARTSTREAM_TLS_CERT"):
    # A certificate is for the name that others call; here the question is only whether this server is ready.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    connection: HTTPConnection = HTTPSConnection("127.0.0.1", port, timeout=2, context=trusting)
else:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
try:
    connection.request("GET", "/readyz")
    status = connection.getresponse().status
except (OSError, HTTPException) as error:  # refused, too slow, or no HTTP
    sys.exit(f"not ready: {error}")
if status != 200:
    sys.exit(f"not ready: {status}")
