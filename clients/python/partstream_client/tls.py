"""Credentials of a client: TLS settings and the API key."""

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, kw_only=True, slots=True)
class Tls:
    """Certificates for an encrypted connection, as PEM files."""

    ca_file: str | Path | None = None
    """Authorities to trust instead of the system's; a self-signed server's own certificate."""
    certificate_file: str | Path | None = None
    """The client's certificate, for servers that ask for one."""
    key_file: str | Path | None = None
    """The private key that goes with it."""

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together; one of them is missing")

    def context(self) -> ssl.SSLContext:
        """The same for HTTP.

        Raises:
            OSError: A file cannot be read.
            ssl.SSLError: A file holds no certificate or no key.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        return context

    def credentials(self) -> grpc.ChannelCredentials:
        """The same for gRPC.

        Raises:
            OSError: A file cannot be read.
        """
        return grpc.ssl_channel_credentials(
            _read(self.ca_file), _read(self.key_file), _read(self.certificate_file)
        )


def bearer(api_key: str | None) -> dict[str, str]:
    """The header that carries the key; none where there is no key.

    Raises:
        ValueError: No header can carry it.
    """
    if api_key is None:
        return {}
    if not api_key or not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise ValueError("api_key must be printable ASCII without spaces")
    return {"authorization": f"Bearer {api_key}"}


def _read(path: str | Path | None) -> bytes | None:
    return None if path is None else Path(path).read_bytes()
