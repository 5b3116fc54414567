"""Settings of the service, from the environment.

Every setting is a variable PARTSTREAM_...; the port is also taken from PORT, as many platforms set that.
Nothing else in the server reads the environment. `python -m partstream_server.config.settings` prints the
table of all settings that `docs/settings.md` shows.
"""

from __future__ import annotations

import base64
import binascii
import difflib
import ipaddress
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import AliasChoices, DirectoryPath, Field, FilePath, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from partstream_server.config.api_keys import KeyRing

PREFIX: Final = "PARTSTREAM_"
NOT_SETTINGS: Final = frozenset({"PARTSTREAM_DATA", "PARTSTREAM_SERVER", "PARTSTREAM_SERVER_KEY"})
"""Variables with our prefix that are no settings of a server: of the tests and of the client's command."""

Provider = Literal["auto", "openvino", "onnxruntime", "cuda", "tensorrt", "triton"]
Precision = Literal["auto", "f32", "tf32", "bf16", "fp16", "int8"]


class SettingsError(ValueError):
    """A setting is unknown or has a value it cannot have; each line of the message names its variable."""


class FieldError(ValueError):
    """A value that does not go with the others, and the field that holds it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Settings(BaseSettings):
    """How one server runs; the fields' descriptions are the table in `docs/settings.md`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        validate_default=False,
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(
        default=8000,
        ge=0,
        le=65535,
        validation_alias=AliasChoices("PARTSTREAM_PORT", "PORT"),
        description="Port to listen on; `PORT` is read where this is not set; 0 takes a free one.",
    )
    allow_remote: bool = Field(
        default=False, description="Allow an address that other machines reach although no key is asked for."
    )
    api_keys: SecretStr | None = Field(
        default=None,
        description="Keys that callers must show, separated by commas, each `name:key` or a key alone; "
        "empty: none is asked for.",
    )
    api_keys_file: FilePath | None = Field(
        default=None, description="File of further keys, one a line; `#` begins a comment."
    )
    rate_limit: int = Field(
        default=0, ge=0, description="Requests a minute that one key may make; 0: any number."
    )
    frame_quota: int = Field(
        default=0, ge=0, description="Frames a day that one key may have parsed; 0: any number."
    )
    allowed_origins: str = Field(
        default="", description="Origins of other sites whose pages may open streams, separated by commas."
    )
    allowed_hosts: str = Field(
        default="",
        description="Names that requests may give in `Host`, such as `*.example.com`, separated by commas; "
        "empty: none but localhost and addresses on a loopback address, any elsewhere.",
    )
    max_connections: int = Field(
        default=256,
        ge=0,
        description="HTTP and WebSocket connections that one address may have; 0: any number.",
    )
    tls_cert: FilePath | None = Field(
        default=None, description="Certificate chain in PEM; with it HTTP and gRPC are encrypted."
    )
    tls_key: FilePath | None = Field(default=None, description="Private key of the certificate, in PEM.")
    bundle: Path | None = Field(
        default=None, description="Directory of the bundle; empty: the one that ships inside."
    )
    provider: Provider = Field(
        default="auto",
        description="What runs graphs: `auto`, `openvino`, `onnxruntime`, `cuda`, `tensorrt` or `triton`.",
    )
    precision: Precision = Field(
        default="auto",
        description="Arithmetic: `auto`, or one the provider has of `f32`, `tf32`, `bf16`, `fp16`, `int8`.",
    )
    device: int = Field(
        default=0, ge=0, description="Number of the CUDA device, where the provider uses one."
    )
    device_memory_bytes: int = Field(
        default=0, ge=0, description="Most memory that each graph may take on the device; 0: no limit."
    )
    engines: DirectoryPath | None = Field(
        default=None, description="Folder of TensorRT engines; empty: `tensorrt` in the bundle's directory."
    )
    triton: str = Field(
        default="", description="HOST:PORT of the Triton server's gRPC, for the provider `triton`."
    )
    triton_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Longest time that the Triton server may take for a graph, in seconds.",
    )
    threads: int = Field(
        default=0, ge=0, description="Threads of the network; 0: as many as there are cores."
    )
    compiled_mb: int = Field(
        default=1536,
        ge=0,
        description="Memory of the network compiled for different shapes of pictures, in MB; shapes used "
        "least recently are dropped; 0: no limit. OpenVINO only.",
    )
    waiting_mb: int = Field(
        default=1024,
        ge=1,
        description="Memory of frames that wait for the end of a segment to be drawn on (`schedule=paper` "
        "and a video as the answer), in MB; a request that needs more is refused.",
    )
    max_upload_bytes: int = Field(default=2 * 1024**3, ge=1, description="Largest upload.")
    max_duration_s: float = Field(default=3600.0, gt=0, description="Longest video, in seconds.")
    job_max_duration_s: float = Field(
        default=14_400.0, gt=0, description="Longest video of a job, in seconds."
    )
    max_dimension: int = Field(default=8192, ge=1, description="Longest side of a frame, in pixels.")
    max_frames: int = Field(default=500_000, ge=1, description="Most frames of a video.")
    max_concurrent: int = Field(default=2, ge=1, description="Videos parsed at the same time.")
    queue: int = Field(
        default=8, ge=0, description="Requests that may wait for their turn; more are answered 503."
    )
    temp_dir: DirectoryPath | None = Field(
        default=None,
        description="Directory for uploads and results while a request lasts; empty: the system's.",
    )
    upload_timeout_s: float = Field(
        default=60.0, gt=0, description="Longest pause of an upload before it is given up."
    )
    min_upload_rate: int = Field(
        default=16_384,
        ge=0,
        description="Least bytes a second of an upload, on average after that pause; 0: any rate.",
    )
    send_timeout_s: float = Field(
        default=60.0, gt=0, description="Longest pause of a client that reads its result."
    )
    grpc_port: int = Field(
        default=50051, ge=0, le=65535, description="Port of the gRPC service; 0 takes a free one."
    )
    grpc: bool = Field(default=True, description="Whether there is a gRPC service.")
    max_message_bytes: int = Field(
        default=16 * 1024**2, ge=64 * 1024, description="Largest gRPC message, and so the largest frame."
    )
    max_streams: int = Field(default=32, ge=1, description="Live streams at the same time.")
    stream_credits: int = Field(
        default=8, ge=1, description="Frames in flight of a stream that asks for no number."
    )
    max_credits: int = Field(default=32, ge=1, description="Most frames in flight that a stream is granted.")
    stream_workers: int = Field(default=2, ge=1, description="Threads that parse frames of streams.")
    max_batch: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Frames of different streams that share a run of the network; more than 1 pays on "
        "processors that are not full with one.",
    )
    stream_idle_s: float = Field(
        default=300.0, gt=0, description="Longest time that a stream's client may send nothing."
    )
    opening_timeout_s: float = Field(
        default=10.0,
        gt=0,
        description="Longest time from a connection to its request, and from a stream's begin to its config.",
    )
    max_sources: int = Field(default=8, ge=0, description="Sources that are pulled at the same time.")
    source_hosts: str = Field(
        default="",
        description="Hosts that sources may be pulled from, such as `*.example.com`, separated by commas; "
        "empty: none.",
    )
    source_private: bool = Field(
        default=False, description="Allow sources at addresses of private networks and of this machine."
    )
    source_folder: DirectoryPath | None = Field(
        default=None, description="Folder whose files may be pulled as file URLs; empty: none."
    )
    data_dir: Path | None = Field(
        default=None,
        description="Directory that jobs and their results are kept in; one server has it at a time; "
        "empty: `partstream` in the user's data directory.",
    )
    job_workers: int = Field(default=1, ge=1, le=64, description="Jobs in work at the same time.")
    job_ttl_s: float = Field(
        default=7 * 86400.0, gt=0, description="How long a job and its results are kept after its end."
    )
    job_quota_mb: int = Field(
        default=20_480, ge=1, description="Disk that the jobs of one key may take, in MB."
    )
    max_jobs: int = Field(default=100, ge=1, description="Jobs of one key that may wait or be in work.")
    webhook_hosts: str = Field(
        default="",
        description="Hosts that may be called when a job is over, such as `*.example.com`, separated by "
        "commas; empty: none. `PARTSTREAM_SOURCE_PRIVATE` counts for them too.",
    )
    webhook_secret: SecretStr | None = Field(
        default=None,
        description="Secret that signs these calls: base64 of at least 16 bytes, after `whsec_` "
        "(Standard Webhooks).",
    )
    resume_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Secret that servers share so that streams can go on from one to another; "
        "empty: one is made up at the start.",
    )
    resume_lifetime_s: float = Field(
        default=600.0, gt=0, description="How long a stream can be resumed after it broke off."
    )
    shutdown_timeout_s: float = Field(
        default=8.0, gt=0, description="Time that requests in flight have to finish after SIGTERM."
    )
    otlp_endpoint: str = Field(
        default="",
        description="Address of an OpenTelemetry collector (gRPC) that spans of requests are sent to; "
        "empty: none. Needs the extra `tracing`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe lines logged: `debug`, `info`, `warning` or `error`."
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Form of a log line: `text` or `json`."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; no files."""
        return init_settings, env_settings

    @model_validator(mode="after")
    def _be_sound(self) -> Self:
        try:
            num_keys = len(self.key_ring())
        except (ValueError, OSError) as error:
            raise FieldError("api_keys_file" if self.api_keys_file else "api_keys", str(error)) from None
        if not self.allow_remote and not num_keys and not is_loopback(self.host):
            raise FieldError(
                "host",
                f"{self.host} can be reached from other machines and the service asks for no key; set "
                f"{PREFIX}API_KEYS, or pass --allow-remote or set {PREFIX}ALLOW_REMOTE=1 if that is meant",
            )
        try:
            self.webhook_key()
        except ValueError as error:
            raise FieldError("webhook_secret", str(error)) from None
        if (self.tls_cert is None) != (self.tls_key is None):
            lone, other = ("tls_cert", "TLS_KEY") if self.tls_cert else ("tls_key", "TLS_CERT")
            raise FieldError(lone, f"set {PREFIX}{other} too")
        return self

    def key_ring(self) -> KeyRing:
        """The keys of both settings."""
        listed = self.api_keys.get_secret_value() if self.api_keys else ""
        return KeyRing.load(listed, self.api_keys_file)

    def webhook_key(self) -> bytes:
        """The key that signs webhook messages; empty where there is none.

        Raises:
            ValueError: The secret is no base64 of at least 16 bytes.
        """
        if self.webhook_secret is None:
            return b""
        text = self.webhook_secret.get_secret_value().removeprefix("whsec_")
        try:
            key = base64.b64decode(text, validate=True)
        except binascii.Error:
            raise ValueError("it must be base64, with or without whsec_ before it") from None
        if len(key) < 16:
            raise ValueError(f"it must hold at least 16 bytes, not {len(key)}")
        return key

    @property
    def jobs_dir(self) -> Path:
        """Where jobs are kept."""
        if self.data_dir is not None:
            return self.data_dir / "jobs"
        home = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_DATA_HOME")
        return (Path(home) if home else Path.home() / ".local" / "share") / "partstream" / "jobs"

    @property
    def work_dir(self) -> Path:
        """Where requests keep their files."""
        return self.temp_dir or Path(tempfile.gettempdir())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address; a name other than localhost counts as reachable."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from the environment, after arguments of the command line (None: not given).

    Raises:
        SettingsError: A variable is unknown, or a value is wrong; every one is named.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    ours = (name for name in sorted(os.environ) if name.upper().startswith(PREFIX))
    unknown = [name for name in ours if name.upper() not in known | NOT_SETTINGS]
    if unknown:
        raise SettingsError("\n".join(_unknown(name, known) for name in unknown))
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(item, given) for item in error.errors())) from None


def _unknown(variable: str, known: set[str]) -> str:
    close = difflib.get_close_matches(variable.upper(), known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"{variable}: there is no such setting{hint}"


def _explain(item: Any, given: Mapping[str, Any]) -> str:
    """One line for one of pydantic's errors; it begins with the variable or option at fault."""
    if not item["loc"]:
        error: FieldError = item["ctx"]["error"]
        return f"{_source(error.field, given)}: {error}"
    field = str(item["loc"][0]).lower().removeprefix(PREFIX.lower())
    return f"{_source(field, given)}: {item['msg'][0].lower()}{item['msg'][1:]}, got {item['input']!r}"


def _source(field: str, given: Mapping[str, Any]) -> str:
    """Where a value came from, as its writer knows it: an option, a variable, or PORT."""
    if field in given:
        return f"--{field.replace('_', '-')}"
    variable = PREFIX + field.upper()
    return "PORT" if field == "port" and variable not in os.environ else variable


def settings_table() -> str:
    """A Markdown table of all settings."""
    rows = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{_plain(field.default)}`"
        rows.append(f"| `{PREFIX}{name.upper()}` | {default} | {field.description} |")
    return "\n".join(rows) + "\n"


def _plain(value: object) -> str:
    """A default as one would write it in the environment."""
    if isinstance(value, bool):
        return str(int(value))
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(settings_table(), end="")  # noqa: T201
