"""The certificate and key that REST and gRPC show."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from partstream_server.config.settings import Settings


class TlsError(Exception):
    """The certificate and its key do not go together; the message is for the user."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a certificate chain and its private key, both in PEM."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """TLS context of the server's sockets.

        Raises:
            TlsError: The files cannot be used.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            why = getattr(error, "reason", None) or str(error)
            raise TlsError(f"{self.certificate} and {self.key} cannot be used for TLS: {why}") from error
        return context

    def pair(self) -> tuple[bytes, bytes]:
        """Private key and certificate chain, as `grpc.ssl_server_credentials` takes them."""
        return self.key.read_bytes(), self.certificate.read_bytes()


def read_tls(settings: Settings) -> Tls | None:
    """TLS files of the settings, checked; None without TLS.

    Raises:
        TlsError: The files cannot be used.
    """
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    tls = Tls(settings.tls_cert, settings.tls_key)
    tls.context()
    return tls


def _no_password() -> bytes:
    """Asked for the password of an encrypted key; without this, OpenSSL asks on the terminal and waits."""
    raise ValueError("the private key is encrypted")
