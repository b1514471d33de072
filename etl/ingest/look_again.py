"""Holes that a venue may still fill, asked for again when the time has come that a backfill named for them.

A daily file that is not published yet, and the last minutes of a history, are OPEN in the gap ledger. Each is asked
for as a backfill of its own: what comes closes it; what does not is open until the next time, or at last a hole.
"""

from __future__ import annotations

import logging
import time
from collections import Counter

from etl.errors import UsageError, VenueError
from etl.ingest import backfill, backfill_holes
from etl.ingest.backfill_holes import Hole
from etl.ingest.backfill_jobs import Chunk, Job
from etl.model.records import GapState
from etl.settings import Settings

ROUND_S = 600.0
"""No hole is begun later in a round; the next one goes on there."""

_log = logging.getLogger(__name__)


def look_again(
    settings: Settings,
    now_ns: int,
    exchange: str = "",
    symbol: str = "",
    key: str = "",
    any_time: bool = False,
) -> Counter[GapState]:
    """Ask for the holes whose time has come by ``now_ns`` (``any_time``: for all that may still be filled), those that
    have waited longest first; "" = of all. Holes by the state that they have now: those of a venue that refuses stay
    open. Raises ``TransportError``."""
    states: Counter[GapState] = Counter()
    until_s = time.monotonic() + ROUND_S
    for hole, chunk in _due(settings, now_ns, exchange, symbol, key, any_time):
        if time.monotonic() > until_s:
            break
        try:
            backfill.run(settings, _job(chunk))
        except (
            VenueError,
            UsageError,
        ) as error:  # it refuses, or is not to be asked from here: the next may be
            _log.warning("%s %s: %s", hole.symbol, hole.key, error)
        states[_state_of(settings, chunk.exchange, hole)] += 1
    return states


def _due(
    settings: Settings, now_ns: int, exchange: str, symbol: str, key: str, any_time: bool
) -> list[tuple[Hole, Chunk]]:
    found = [
        (hole, hole.ask)
        for name in backfill_holes.exchanges(settings)
        for hole in backfill_holes.known(settings, name)
        if hole.ask is not None
        and (any_time or hole.look_again_ns <= now_ns)
        and exchange in ("", name)
        and symbol in ("", hole.symbol, hole.ask.symbol)
        and key in ("", hole.key)
    ]
    return sorted(found, key=lambda one: one[0].look_again_ns)


def _job(chunk: Chunk) -> Job:
    return Job(
        exchange=chunk.exchange,
        symbols=(chunk.symbol,),
        kinds=(chunk.kind,),
        start_ns=chunk.start_ns,
        end_ns=chunk.end_ns,
        archive=chunk.archive,
    )


def _state_of(settings: Settings, exchange: str, hole: Hole) -> GapState:
    now = [one for one in backfill_holes.known(settings, exchange) if one.place == hole.place]
    if not now:
        return GapState.REPAIRED
    return GapState.OPEN if now[0].look_again_ns else GapState.SOURCE_HOLE
