"""The simulated venues. One lives in the file that bears its name, or in that of the name's part before an underscore
(``alpaca_iex`` is served by ``alpaca.py``), as the feeds in ``etl/exchanges`` do. Adding one edits no list.

**To add a venue** write ``venues/NAME.py`` with one subclass of ``Venue`` that names its ``exchange``, and nothing taken
from ``etl/exchanges``: what the code under test wrote would only agree with itself. It holds

``symbols``    what is listed: ``Instrument(venue symbol, unified symbol, price digits, size digits, first price in ticks)``
``channels``   a ``Channel`` for each stream: what the market draws for it (``PRINT``, ``TOP``, ``CHANGE``, ``BAR``, …), its
               share of events, ``is_counted`` where its ids are contiguous, and its ``Form``: the kind, the ``record_key``
               as contract and time unit say, and the message as literal JSON with ``$words`` (``words.py`` has the table;
               ``words = WORDS | {…}`` adds a venue's own)
               ``opening`` is the form of what a client is told first when it subscribes (``replayed_max`` trades, the book)
``dialect``    the handshake as a table (``dialect.py``): greeting, login, acknowledgements, refusals, farewells
``stamped``    where frames carry a number that is counted on their connection
``asked``      the streams that a subscription message names;  ``acks``  what it is answered with
``separator``, ``symbol_leads``   how a stream is named: ``T.AAPL`` or ``btcusdt@trade``
``write``      how decimals are written, if not in their shortest form;  ``events_per_frame_max``  if frames are arrays
``answer``     its requests: forms of the rows and the way of paging (``paging.py``), ``book`` for a snapshot, a daily
               archive (``archive.py``)
``told``       only if its *recordings* are to be judged by identity (``told.py``); otherwise by the frame

``address``    where its frames name their channel and symbol (``address.py``), so that a recording is given by
               subscription; not where a connection's messages are counted, which a client would find missing

A sister market is a subclass with what differs (``binance_usdm.py``). ``tests/simulator/test_truth.py`` plays every venue
found here and holds its truth against the parser's records: nothing has to be added there but the names of its
streams and requests. A venue without a file can still be served from a recording (``RecordedVenue``).
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from etl.errors import UsageError
from etl.simulator.venue import Venue


def make_venue(exchange: str) -> Venue:
    """The simulated ``exchange``; a feed that has no class of its own is its family's. Raises ``UsageError``."""
    file = _file_of(exchange)
    if not file:
        raise UsageError(f"{exchange}: the simulator has no such venue; it has {', '.join(names())}")
    venues = _venues(importlib.import_module(f"{__name__}.{file}"))
    return next((venue for venue in venues if venue.exchange == exchange), venues[0])(exchange)


def is_simulated(exchange: str) -> bool:
    """Of some venues there are only files, which lie somewhere."""
    return bool(_file_of(exchange))


def _file_of(exchange: str) -> str:
    """Without its ending; "" if there is none."""
    parts = exchange.split("_")
    names_of_families = ("_".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((name for name in names_of_families if name in _files()), "")


@cache
def names() -> tuple[str, ...]:
    """Every venue that has a class of its own, sorted."""
    modules = (importlib.import_module(f"{__name__}.{file}") for file in _files())
    return tuple(sorted(venue.exchange for module in modules for venue in _venues(module)))


@cache
def _files() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules(__path__) if module.name[0] != "_")


def _venues(module: ModuleType) -> list[type[Venue]]:
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Venue)
        and value.__module__ == module.__name__
        and "exchange" in vars(value)
    ]
