"""The venues. A feed lives in the file that bears its name, or in that of the name's part before an
underscore (``alpaca_iex`` in ``alpaca.py``): a sister market of a few lines stays in its file, one with
its own facts gets its own file. Adding a feed edits no list."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache, lru_cache
from types import ModuleType

import msgspec

from etl.adapter.contract import Exchange
from etl.adapter.series import Series
from etl.adapter.unknown_fields import Known
from etl.errors import UsageError


@cache
def load(name: str) -> type[Exchange]:
    """The class of the feed called ``name``. Raises ``UsageError`` that lists the known feeds."""
    parts = name.split("_")
    known = files()
    for end in range(len(parts), 0, -1):
        file = "_".join(parts[:end])
        if file in known:
            for feed in _feeds(importlib.import_module(f"{__name__}.{file}")):
                if feed.name == name:
                    return feed
    raise UsageError(f"{name}: no such venue; known are {', '.join(names())}")


@cache
def names() -> tuple[str, ...]:
    """All feeds, sorted."""
    return tuple(sorted(name for feeds in names_by_file().values() for name in feeds))


def streamed() -> tuple[str, ...]:
    """Those that have a stream."""
    return tuple(filter(has_stream, names()))


@cache
def has_stream(name: str) -> bool:
    """Of a name that nobody knows too: who opens it says so."""
    try:
        return bool(load(name).websocket_url)
    except UsageError:
        return True


@cache
def series_of(exchange: str) -> Series | None:
    """How contracts of ``exchange`` come and go, ``None`` where they do not or nobody knows it."""
    try:
        return load(exchange).series
    except UsageError:
        return None


@lru_cache(maxsize=4096)
def channel_family(exchange: str, channel: str) -> str:
    """``Channel.family`` for those who hold records of any venue; the name itself where nobody declares it."""
    try:
        declared = load(exchange).channel(channel)
    except UsageError:
        return channel
    return declared.family if declared else channel


@cache
def names_by_file() -> dict[str, tuple[str, ...]]:
    """The feeds of each venue file. Imports them all, 2 to 13 ms each: pure modules, that a DAG file can afford."""
    return {
        file: tuple(feed.name for feed in _feeds(importlib.import_module(f"{__name__}.{file}")))
        for file in files()
    }


@cache
def with_history() -> dict[str, tuple[str, ...]]:
    """The same of those whose past can be asked for, at their history or in an archive; files without any left out."""
    found = {file: tuple(filter(_has_past, feeds)) for file, feeds in names_by_file().items()}
    return {file: feeds for file, feeds in found.items() if feeds}


def _has_past(name: str) -> bool:
    feed = load(name)
    return bool(feed.history or feed.archive_kinds)


def known_fields(feed: type[Exchange]) -> Known:
    """What the events of the feed's streams are known to have, by event."""
    return _known_fields(feed.__module__.rpartition(".")[2])


@cache
def _known_fields(file: str) -> Known:
    data = pkgutil.get_data(__name__, "known_fields.json") or b"{}"
    events = msgspec.json.decode(data).get(file, {})
    return {event: frozenset(members) for event, members in events.items()}


@cache
def files() -> tuple[str, ...]:
    """The venue files, sorted; imports none."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_"))


def _feeds(module: ModuleType) -> list[type[Exchange]]:
    """Without the parsers of former protocols, which bear the names of their successors."""
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Exchange)
        and value.__module__ == module.__name__
        and "name" in vars(value)
    ]
    former = {parser for feed in found for _, parser in feed.versions}
    return [feed for feed in found if feed not in former]
