"""How a venue is reached: addresses, keys, the shared request budget, and one HTTP session for all that is asked.

    async with VenueAccess.from_settings(settings, exchange) as access:
        answer = await access.history.fetch(request)

The only place that knows whether a venue is live or simulated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import aiohttp

from etl.adapter.contract import Credentials, Exchange
from etl.errors import UsageError
from etl.settings import Settings, venue_key
from etl.sources.history import NOWHERE_ELSE, History
from etl.sources.limiter import Limiter, limit_path
from etl.sources.shared_allowance import RedisAllowance

KEY_FILE_SUFFIX = "_PATH"
"""Ends the names of variables that name a file with a key, and hold none."""
SIMULATION_CREDENTIALS = Credentials("demo-key", "demo-secret")


class VenueAccess:
    """One venue with one key. What needs no connection is there at once, ``session`` and ``history`` within
    ``async with``."""

    def __init__(
        self,
        exchange: type[Exchange],
        credentials: Credentials,
        websocket_urls: Mapping[str, tuple[str, ...]],
        rest_url: str,
        archive_url: str,
        limiter: Limiter,
        connects: Limiter | None = None,
        rest_urls: Mapping[str, str] = NOWHERE_ELSE,
    ) -> None:
        self.exchange = exchange
        self.credentials = credentials
        self._websocket_urls = websocket_urls
        self.rest_url = rest_url
        self.archive_url = archive_url
        self.limiter = limiter
        self.connects = connects
        """Paces the opening of sockets, with everybody else who opens some from this machine."""
        self.history = History(rest_url, self.parser(), limiter, rest_urls)

    @classmethod
    def from_settings(
        cls, settings: Settings, exchange: type[Exchange], needs_key: bool = True
    ) -> VenueAccess:
        """The venue itself, or its simulator. ``needs_key``: false for files that are here already. Raises
        ``UsageError`` for a missing key, and for a venue that is neither live nor simulated."""
        venues = settings.venues
        if venues.live:
            main = (exchange.websocket_url, *exchange.websocket_url_others)
            websocket_urls = {"": main, **{name: (url,) for name, url in exchange.socket_urls.items()}}
            rest_url, archive_url = exchange.rest_url, exchange.archive_url
        else:
            place = _simulator(settings, exchange.name)
            websocket_urls, rest_url = {"": (f"ws://{place}",)}, f"http://{place}"
            archive_url = rest_url
        keys = credentials(exchange, venues.live) if needs_key else Credentials()
        path = limit_path(settings.state_path, exchange.name, rest_url, keys.key)
        # a simulated venue has no published limit; its refusals count
        shared = RedisAllowance(venues.request_budget_url, path.name) if venues.request_budget_url else None
        limiter = Limiter(path, exchange.budgets if venues.live else (), shared=shared)
        # what a venue lets one address open counts by machine
        host = websocket_urls[""][0].partition("://")[2]
        connects = Limiter(limit_path(settings.state_path, "connects", host, ""), exchange.connect_budgets)
        return cls(
            exchange, keys, websocket_urls, rest_url, venues.archive_url or archive_url, limiter, connects,
            exchange.rest_urls if venues.live else NOWHERE_ELSE,
        )  # fmt: skip

    def websocket_urls(self, socket: str = "") -> tuple[str, ...]:
        """Base addresses of the ``socket`` of a subscription, or of the main one where it has none of its own;
        attempts to connect take turns."""
        return self._websocket_urls.get(socket) or self._websocket_urls[""]

    def parser(self) -> Exchange:
        """A new parser with this access's keys: one for each connection."""
        return self.exchange(self.credentials)

    @property
    def session(self) -> aiohttp.ClientSession:
        """For what is no request to the history: archive files."""
        return self.history.session

    async def __aenter__(self) -> VenueAccess:
        await self.history.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.history.__aexit__(kind, error, trace)


def credentials(exchange: type[Exchange], live: bool) -> Credentials:
    """Keys from the environment, a fixed one for the simulator. Raises ``UsageError`` for a missing key, unless the
    venue can do without."""
    if not live:
        return SIMULATION_CREDENTIALS
    found = []
    for group in exchange.key_variables:
        value = _read_key(group)
        if value is None and (exchange.key_is_optional or exchange.keyed_history):
            return Credentials()
        if value is None:
            raise UsageError(f"{exchange.name}: set {' or '.join(group)} in the environment")
        found.append(value)
    return Credentials(*found)


def _read_key(group: Sequence[str]) -> str | None:
    """The value of the first of these variables that is set, or what the file holds that it names. Raises
    ``UsageError`` for a file that cannot be read."""
    value = venue_key(group)
    name = next((name for name in group if venue_key((name,)) == value), "")
    if value is None or not name.endswith(KEY_FILE_SUFFIX):
        return value
    try:
        return Path(value).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}: {getattr(error, 'strerror', '') or 'not a text'}") from None


def _simulator(settings: Settings, venue: str) -> str:
    if venue not in settings.venues.names:
        raise UsageError(f"{venue} is not simulated: add it to ETL_VENUES, or use --live")
    return f"{settings.bind_host}:{settings.simulator_port_of(venue)}/{venue}"
