"""Holes of backfills in the gap ledger: declared, and closed by what a later run brings.

What was declared and is not closed is kept below ``state_dir/backfill_holes``, a file a venue.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.adapter.contract import Exchange
from etl.exchanges import load as load_exchange
from etl.ingest.backfill_jobs import Chunk
from etl.ingest.feed import Feed
from etl.model.records import Gap, GapKind, GapState, Source
from etl.model.times import NS_PER_MS, text_of
from etl.reference.instruments import with_known
from etl.settings import Settings
from etl.sources.connection_id import connection_id
from etl.stores.files import write_whole
from etl.transports.transport import transport_of

HOLES_KEPT_MAX = 100_000
"""Of a venue; the oldest of more are no longer closed by a later run."""
FLUSH_TIMEOUT_S = 60.0
LEFT_OUT = "the venue's history leaves it out"
BROUGHT = "a later backfill brought it"

_log = logging.getLogger(__name__)


class Hole(Struct, frozen=True):
    """Ids that are missing (0 = the channel has none), between the times of the good ones around.

    ``look_again_ns``: when what may still be published should be asked for again, and ``ask`` what then; 0 = the venue
    had its time.
    ``is_counted``: found by the number of trades that bars count, so that only both kinds together can disprove it.
    """

    symbol: str
    channel: str
    from_time_ns: int
    to_time_ns: int
    from_id: int = 0
    to_id: int = 0
    reason: str = ""
    look_again_ns: int = 0
    is_counted: bool = False
    ask: Chunk | None = None

    @property
    def key(self) -> str:
        """Its identity in the ledger, together with its symbol."""
        by_id = (self.from_id, self.to_id) if self.from_id else (self.from_time_ns, self.to_time_ns)
        return f"{self.channel}/{by_id[0]}-{by_id[1]}"

    @property
    def place(self) -> tuple[str, str]:
        return self.symbol, self.key


def exchanges(settings: Settings) -> list[str]:
    """Those that have, or had, holes which are not closed."""
    return sorted(path.stem for path in _root(settings).glob("*.json"))


def known(settings: Settings, exchange_name: str) -> list[Hole]:
    """What was declared and is not closed."""
    return _read(_path(settings, exchange_name))


def declare(
    settings: Settings, exchange_name: str, holes: Sequence[Hole], is_closed: Callable[[Hole], bool]
) -> None:
    """Publish ``holes``, and those known from earlier runs that ``is_closed`` now. Returns when Kafka has all."""
    with _held(settings, exchange_name) as (before, keep):
        declared = {hole.place for hole in holes}
        others = [hole for hole in before if hole.place not in declared]
        closed = [hole for hole in others if is_closed(hole)]
        if holes or closed:
            _publish(settings, exchange_name, holes, closed)
        keep([*(hole for hole in others if hole not in closed), *holes])


def _publish(settings: Settings, exchange_name: str, holes: Sequence[Hole], closed: Sequence[Hole]) -> None:
    exchange = with_known(settings, load_exchange(exchange_name))
    publisher = transport_of(settings).publisher()
    feed = Feed(settings, exchange, publisher)
    connection, now_ns = connection_id(time.time_ns()), time.time_ns()
    for number, hole in enumerate([*holes, *closed], 1):
        state = GapState.OPEN if hole.look_again_ns else GapState.SOURCE_HOLE
        reason = hole.reason or LEFT_OUT
        if hole.look_again_ns:
            reason = f"look again after {text_of(hole.look_again_ns)}: {reason}"
        if number > len(holes):
            state, reason = GapState.REPAIRED, BROUGHT
        feed.publish_gaps([_gap(exchange, hole, state, reason, (connection, number), now_ns)])
    publisher.flush(FLUSH_TIMEOUT_S)


def _gap(
    exchange: type[Exchange], hole: Hole, state: GapState, reason: str, place: tuple[str, int], now_ns: int
) -> Gap:
    return Gap(
        exchange=exchange.name,
        symbol=hole.symbol,
        venue_symbol=exchange().instruments.venue_symbol(hole.symbol),
        channel=hole.channel,
        event_time_ns=hole.from_time_ns,
        receive_time_ns=now_ns,
        source=Source.BACKFILL,
        connection_id=place[0],
        frame_sequence=place[1],
        frame_index=0,
        record_key=hole.key,
        key_time_ns=hole.from_time_ns - hole.from_time_ns % NS_PER_MS,
        parser_version=exchange.parser_version,
        gap_kind=GapKind.SOURCE_HOLE,
        gap_state=state,
        from_sequence=hole.from_id or None,
        to_sequence=hole.to_id or None,
        from_time_ns=hole.from_time_ns,
        to_time_ns=hole.to_time_ns,
        reason=reason,
        detected_time_ns=now_ns,
    )


@contextmanager
def _held(
    settings: Settings, exchange_name: str
) -> Iterator[tuple[list[Hole], Callable[[Sequence[Hole]], None]]]:
    """The venue's holes that are not closed, and what keeps those of tomorrow; nobody else changes them meanwhile."""
    path = _path(settings, exchange_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _read(path), lambda holes: _write(path, holes)
    finally:
        os.close(lock)


def _root(settings: Settings) -> Path:
    return settings.state_path / "backfill_holes"


def _path(settings: Settings, exchange_name: str) -> Path:
    return _root(settings) / f"{exchange_name}.json"


def _read(path: Path) -> list[Hole]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Hole])
    except FileNotFoundError:
        return []


def _write(path: Path, holes: Sequence[Hole]) -> None:
    if len(holes) > HOLES_KEPT_MAX:
        _log.warning("%s: %d holes, the newest %d are kept", path.stem, len(holes), HOLES_KEPT_MAX)
    kept = sorted(holes, key=lambda hole: hole.to_time_ns)[-HOLES_KEPT_MAX:]
    write_whole(path, msgspec.json.encode(kept))
