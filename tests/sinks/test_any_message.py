"""Whatever lies on a topic, its readers go on: what they cannot use is passed over, counted and quarantined.

``ETL_TEST_FUZZ_MESSAGES`` sets how many messages each consumer is given (default: a few hundred).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl import exchanges
from etl.adapter.carried import Carried
from etl.errors import WireError
from etl.ingest import quarantine, recovery
from etl.ingest.feed import Feed
from etl.ingest.recovery import _Unpublished
from etl.ingest.reparse import Reparse
from etl.lake.exports import Range
from etl.lake.storage import open_storage
from etl.model.records import Kind, Source
from etl.reconcile.ledger import Ledger
from etl.reference import symbol_statistics
from etl.reference.instruments import with_known
from etl.sequencing.continuity import Continuity
from etl.settings import Settings
from etl.sinks.clickhouse_ways import split_frequent
from etl.sinks.lake import RawWriter, RecordWriter
from etl.sinks.refusals import RECORD_BYTES_MAX, item_of, screened
from etl.sinks.timescale import parameters
from etl.transports.frames import frames_of
from etl.transports.memory import Nowhere
from etl.transports.message import Message
from etl.transports.readable import readable
from etl.wire import codec
from etl.wire import market_data_pb2 as pb
from etl.wire.columns import COLUMNS, Form, Refused, Rows, decode, refused_rows, without
from etl.wire.keys import message_key
from tests.support import garbage, stream

MESSAGES = int(os.environ.get("ETL_TEST_FUZZ_MESSAGES", "600"))
BATCH = 200
MESSAGE_BYTES_MAX = 4 << 20

ENUMS = [
    (record, field.name)
    for record in (stream.trade(1), stream.quote(1), stream.book(1), stream.bar(1), stream.gap(1))
    for field in pb.MarketData.DESCRIPTOR.fields
    if field.enum_type
    and field.name in {c.name for c in COLUMNS[record.kind] if c.form is Form.NAME} | {"kind", "source"}
]
"""Each enum of each kind."""


def with_number(value: bytes, field: str, number: int) -> bytes:
    message: Any = pb.MarketData.FromString(value)
    setattr(message, field, number)
    return bytes(message.SerializeToString())


def batches(messages: Iterator[Message]) -> Iterator[tuple[Message, ...]]:
    return iter(lambda: tuple(islice(messages, BATCH)), ())


# ── enums are open on the wire ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("record", "field"), ENUMS, ids=lambda value: getattr(value, "symbol", value))
@pytest.mark.parametrize("number", [99, -1, -2, 258, 2**31 - 1])
def test_an_unknown_number_is_a_refusal_and_never_another_member(
    record: Any, field: str, number: int
) -> None:
    foreign = with_number(codec.encode(record), field, number)
    rows, refused = decode([(7, foreign), (8, codec.encode(record))])
    assert [(item.offset, item.code) for item in refused] == [(7, "store_rejected")]
    assert [each.offsets for each in rows] == [[8]]
    item = item_of(refused[0], foreign, "timescale")
    assert (item.record, item.exchange, item.symbol) == (foreign, record.exchange, record.symbol)
    assert codec.decode_quarantined(codec.encode_quarantined(item)) == item
    with pytest.raises(WireError):
        codec.decode(foreign)


def test_what_is_too_large_to_copy_is_named_in_the_quarantine() -> None:
    value = b"\xff" * (MESSAGE_BYTES_MAX - 100)
    item = item_of(Refused(17, "no message"), value, "lake", "topic-id/3")
    assert (item.record, item.connection_id, item.frame_sequence) == (b"", "topic-id/3", 17)
    assert item.reason == f"lake: no message ({len(value)} bytes, not copied: topic-id/3@17)"
    named = codec.MarketData(kind=1, exchange="e" * RECORD_BYTES_MAX, symbol="s" * (3 * RECORD_BYTES_MAX))
    item = item_of(Refused(17, "x" * (2 << 20)), named.SerializeToString(), "lake", "topic-id/3")
    assert len(codec.encode_quarantined(item)) + len(message_key(item.exchange, item.symbol)) < 2_000


# ── any message ──────────────────────────────────────────────────────────────────────────────────────────────


def assert_kept(refused: Sequence[tuple[Refused, bytes | None]], settings: Settings) -> None:
    """Each has an item that the quarantine can hold, and that comes out again."""
    for item, value in refused:
        kept = item_of(item, value, "lake", "t/0")
        encoded = codec.encode_quarantined(kept)
        assert codec.decode_quarantined(encoded) == kept
        assert len(encoded) <= settings.producer.message_bytes_max


def attempt(rows: Rows) -> None:
    parameters(rows)


def test_load(settings: Settings) -> None:
    for messages in batches(garbage.records(MESSAGES)):
        values = {message.offset: message.value for message in messages}
        rows, refused = decode(values.items(), (Kind.BOOK,))
        rows, broken = screened(rows)
        found = [item for each in rows for item in refused_rows(each, attempt)]
        written = without(rows, {item.offset for item in found})
        for each in written:
            parameters(each)
        refused = [*refused, *broken, *found]
        assert_kept([(item, values[item.offset]) for item in refused], settings)
        skipped = sum((value or b"").startswith(b"\x08\x03") for value in values.values())
        assert skipped <= len(messages) - len(refused) - sum(map(len, written)) <= skipped + len(messages)


def test_export(settings: Settings) -> None:
    storage, span = open_storage(settings), Range(0, 0, MESSAGES)
    for number, messages in enumerate(batches(garbage.records(MESSAGES))):
        writer = RecordWriter(settings, storage, span, f"0-{number}-1.parquet", {})
        refused = writer.add(messages)
        assert_kept(refused, settings)
        files = writer.write()
        assert sum(file.rows for file in files) <= len(messages) - len(refused)
        assert refused


def test_archive(settings: Settings) -> None:
    storage, span = open_storage(settings), Range(0, 0, MESSAGES)
    for number, messages in enumerate(batches(garbage.frames(MESSAGES))):
        writer = RawWriter(settings, storage, span, f"0-{number}-1.parquet", {})
        refused = writer.add(messages)
        assert_kept(refused, settings)
        assert sum(file.rows for file in writer.write()) <= len(messages)
        assert refused


def test_clickhouse_sink(settings: Settings) -> None:
    """The engine judges its messages; here is what is ours: which way they go, and what is kept of those refused."""
    for messages in batches(garbage.records(MESSAGES)):
        values = [message.value or b"" for message in messages]
        frequent, others = split_frequent(values)
        assert len(frequent) + len(others) == len(values)
        assert_kept([(Refused(n, "refused"), value) for n, value in enumerate(values)], settings)
    for messages in batches(garbage.items(MESSAGES)):
        assert_kept([(Refused(m.offset, "refused"), m.value) for m in messages], settings)


def test_recovery_of_what_was_published(settings: Settings) -> None:
    binance = with_known(settings, exchanges.load("binance"))
    for messages in batches(garbage.records(MESSAGES)):
        tail = recovery.new_tail()
        recovery.add_records(tail, messages, "binance")
        continuity = Continuity(binance)
        for latest in tail.newest.values():
            for record in readable(latest, codec.decode, "recovery"):
                continuity.remember(record)
        assert tail.records
    for messages in batches(garbage.items(MESSAGES)):
        recovery.add_quarantined(tail, messages, "binance")
    assert tail.noted


def test_recovery_and_replay_of_frames(settings: Settings) -> None:
    binance = with_known(settings, exchanges.load("binance"))
    for messages in batches(garbage.frames(MESSAGES)):
        continuity = Continuity(binance)
        feed = Feed(settings, binance, Nowhere(), continuity)
        reparse = Reparse(feed, _Unpublished(recovery.new_tail(), Carried(["BTCUSDT"])), 1_000)
        for frame in frames_of(messages):
            reparse.parse(frame)
            reparse.parse(msgspec.structs.replace(frame, source=Source.REPLAY))
        assert sum(feed.counts.published)


def test_quarantine_commands(settings: Settings) -> None:
    for messages in batches(garbage.items(MESSAGES)):
        values = (message.value or b"" for message in messages)
        items = list(readable(values, codec.decode_quarantined, "quarantine"))
        assert items
        quarantine.replay(items, Nowhere(), settings, 1, ())


def test_reconcile(tmp_path: Path) -> None:
    with Ledger(tmp_path, ["binance"]) as ledger:
        ledger.add_normalized(message.value or b"" for message in garbage.records(MESSAGES))
        ledger.add_quarantine(message.value or b"" for message in garbage.items(MESSAGES))
        ledger.add_raw(frames_of(garbage.frames(MESSAGES)))
        assert ledger.frames_raw["binance"]


def test_statistics(settings: Settings) -> None:
    good = garbage.written(0, b"binance:X", b'{"exchange":"binance","symbol":"X","close":1.0,"return_mean":0.0,'
                           b'"return_deviation":0.1,"days":30,"as_of_ns":1}')  # fmt: skip
    messages = [
        *garbage.records(MESSAGES),
        *garbage.items(MESSAGES),
        good,
        garbage.written(1, b"binance:X", None),
    ]
    found = list(readable(messages, symbol_statistics.decode, "statistics"))
    assert [item.symbol for item in found] == ["X"]
