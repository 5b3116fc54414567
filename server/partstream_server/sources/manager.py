"""All pulled sources of a server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from partstream_server.config.settings import Settings
from partstream_server.media import MediaLimits
from partstream_server.pipeline.encoding import MaskForm
from partstream_server.security.access import Account
from partstream_server.sources.address import Rules, check_url, without_password
from partstream_server.sources.capture import Capture
from partstream_server.sources.errors import SourcesFullError, SourceUnknownError
from partstream_server.sources.source import BACKOFF_S, Source
from partstream_server.streams import StreamConfig, StreamHub


@dataclass(frozen=True, slots=True)
class Pulled:
    """A source, and whose it is."""

    source: Source
    url: str
    """As it may be shown."""
    owner: str
    masks: MaskForm
    """The form of masks that was asked for."""


class Sources:
    """Starts, finds and stops sources; its methods belong to one event loop."""

    def __init__(
        self,
        hub: Callable[[], StreamHub],
        rules: Rules,
        limits: MediaLimits,
        *,
        most: int,
        backoff_s: tuple[float, ...] = BACKOFF_S,
    ) -> None:
        self._hub, self._rules, self._limits = hub, rules, limits
        self._most, self._backoff_s = most, backoff_s
        self._pulled: dict[str, Pulled] = {}

    def start(self, url: str, config: StreamConfig, account: Account, *, reconnect: bool = True) -> Pulled:
        """Pull another source.

        Raises:
            OptionError, SourceForbiddenError: The URL is wrong, or not allowed.
            SourcesFullError: As many are pulled as may be.
            PartstreamError: Its stream cannot be opened.
        """
        check_url(url, self._rules)
        self._make_room()
        stream = self._hub().open(config, transport="source", account=account)
        source = Source(
            secrets.token_hex(8),
            stream,
            partial(Capture, url, self._rules, self._limits),
            reconnect=reconnect,
            backoff_s=self._backoff_s,
        )
        pulled = Pulled(source, without_password(url), account.name, config.masks)
        self._pulled[source.source_id] = pulled
        return pulled

    def all_of(self, account: Account) -> list[Pulled]:
        """The sources of one key's holder, oldest first."""
        return [one for one in self._pulled.values() if one.owner == account.name]

    def get(self, source_id: str, account: Account) -> Pulled:
        """One source.

        Raises:
            SourceUnknownError: It is not there, or another key's.
        """
        pulled = self._pulled.get(source_id)
        if pulled is None or pulled.owner != account.name:
            raise SourceUnknownError(f"there is no source {source_id}")
        return pulled

    async def stop(self, source_id: str, account: Account) -> None:
        """Stop a source and forget it.

        Raises:
            SourceUnknownError: It is not there, or another key's.
        """
        pulled = self.get(source_id, account)
        del self._pulled[source_id]
        await pulled.source.stop()

    async def close(self) -> None:
        """Stop all."""
        pulled = list(self._pulled.values())
        self._pulled.clear()
        await asyncio.gather(*(one.source.stop() for one in pulled))

    def _make_room(self) -> None:
        if len(self._pulled) < self._most:
            return
        over = next((key for key, one in self._pulled.items() if one.source.state.is_over), None)
        if over is None:
            raise SourcesFullError(f"{self._most} sources are pulled already; stop one first")
        del self._pulled[over]


def rules_of(settings: Settings) -> Rules:
    """Allow-list of source URLs from the settings."""
    hosts = tuple(host for one in settings.source_hosts.split(",") if (host := one.strip()))
    return Rules(hosts, settings.source_private, settings.source_folder)
