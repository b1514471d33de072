"""What the conformance suite has to know of a venue: ``tests/fixtures/exchanges/<feed>.conformance.json``.

A sister in the same venue file has the table of the file's first name (``alpaca_iex``: ``alpaca``), with what its own
file says otherwise. Material proves a row; ``reasons`` say why one does not apply. The rows are in
``docs/adding_a_venue.md``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from etl.adapter.contract import Exchange, Subscription
from etl.exchanges import load, streamed
from etl.model.codes import REPLAYED
from etl.model.records import Record
from tests.support import fixtures


class Talk(msgspec.Struct, forbid_unknown_fields=True):
    """``opens``: what is sent at once; then the venue's frames, each with exactly what it gives."""

    symbols: tuple[str, ...]
    channels: tuple[str, ...]
    frames: list[fixtures.FixtureLine] = []
    opens: list[str] = []

    @property
    def subscription(self) -> Subscription:
        return Subscription(self.symbols, self.channels)


class Simulated(msgspec.Struct, forbid_unknown_fields=True):
    """Channels and paths of requests by which the simulated venue's truth is held against the parser
    (``tests/simulator/test_truth.py``). ``is_opened``: its frames mean something on a connection that has subscribed
    only, and are read on one."""

    streams: tuple[str, ...]
    requests: tuple[str, ...]
    is_opened: bool = False


class Table(msgspec.Struct, forbid_unknown_fields=True):
    """``stream`` is subscribed to at the simulated venue, for the row of the history."""

    handshake: Talk | None = None
    partial_refusal: Talk | None = None
    keep_alive: list[fixtures.FixtureLine] = []
    replay: list[fixtures.FixtureLine] = []
    stream: Talk | None = None
    simulated: Simulated | None = None
    page_parameter: str = "limit"
    reasons: dict[str, str] = {}


def table_of(name: str) -> Table:
    """Fails with the file that is missing."""
    merged: dict[str, Any] = {}
    for one in (family_of(name), name):
        path = fixtures.FOLDER / f"{one}.conformance.json"
        assert path.exists() or one != family_of(name), f"no {path.name}: see docs/adding_a_venue.md"
        told = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
        reasons = merged.get("reasons", {}) | told.get("reasons", {})
        merged = merged | told | {"reasons": reasons}
    return msgspec.convert(merged, Table)


def family_of(name: str) -> str:
    """The feed whose fixtures stand for its sisters too: the one that bears the venue file's name."""
    return load(name).__module__.rpartition(".")[2]


def records_of(name: str) -> list[Record]:
    """All records that the fixtures of the feed's venue file give, each under the feed whose fixture it is."""
    found: list[Record] = []
    for path in fixtures.paths():
        exchange = fixtures.feed_of(path)
        if family_of(exchange.name) != family_of(name):
            continue
        parser = exchange()
        for number, line in enumerate(fixtures.read(path), 1):
            outcomes = parser.parse(fixtures.frame_of(line, exchange.name, number))
            found += [outcome for outcome in outcomes if isinstance(outcome, Record)]
    return found


def channels() -> list[tuple[str, str]]:
    """Every declared channel of every feed."""
    return [(name, channel.name) for name in streamed() for channel in load(name).channels]


def exemplar(name: str, channel: str) -> Record | None:
    """A record of the channel (or, where there is none, of a variant of it) from the fixtures: such as counts, so no
    snapshot of a stream of changes, unless snapshots are all there is, and nothing that is repeated."""
    exchange: type[Exchange] = load(name)
    family = exchange.channel(channel)
    assert family is not None
    variant: Record | None = None
    snapshot: Record | None = None
    for record in records_of(name):
        declared = exchange.channel(record.channel)
        if declared is None or (declared.family, declared.kind) != (family.family, record.kind):
            continue
        if REPLAYED in record.flags:
            continue
        if _is_snapshot(record):
            snapshot = snapshot or (record if family.depth else None)
        elif record.channel == channel:
            return record
        else:
            variant = variant or record
    return variant or snapshot


def _is_snapshot(record: Any) -> bool:
    return getattr(record, "book_action", 0) == 1 and record.first_sequence is None
