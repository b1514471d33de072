"""Reconciliation reads real stores: Kafka, ClickHouse, TimescaleDB and the lake, after a small run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from etl.exchanges import load
from etl.model.records import Frame, Record
from etl.reconcile.reconcile import reconcile
from etl.reconcile.report import Example, write_report
from etl.settings import Settings
from etl.simulator import truth
from etl.simulator.session import Item, SyntheticSession
from etl.simulator.truth import EMPTY, LATE, SENT, STREAM, TruthFile, TruthLine, digest_of, place_of
from etl.simulator.venues import make_venue
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.transports.frame_headers import frame_headers
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.wire.codec import encode

pytestmark = pytest.mark.integration

T0 = 1_795_242_275_000_000_000
STREAMS = ("btcusdt@trade", "btcusdt@bookTicker", "btcusdt@depth", "btcusdt@kline_1s")
URL = "ws://127.0.0.1:1/binance/stream?streams=btcusdt@trade"


def sent_items() -> list[Item]:
    session = SyntheticSession(make_venue("binance"), 200.0, seed=9)
    for stream in STREAMS:
        session.subscribe(stream)
    return [item for tick in range(40) for item in session.due(T0 + tick * 50_000_000)]


def run_venue(settings: Settings) -> list[Record]:
    """What the venue sends arrives on both topics; returns the records."""
    ensure_topics(settings)
    parser, publisher = load("binance")(), KafkaPublisher(settings)
    file = TruthFile(truth.path_of(settings.state_path, "binance"))
    records: list[Record] = []
    for number, item in enumerate(sent_items(), 1):
        payload = item.payload
        line = TruthLine(T0 + number, STREAM, SENT, [item.event], digest=digest_of(payload))
        file.write([line])
        frame = Frame("binance", "c1", number, URL, T0 + 10_000_000_000 + number, payload)
        publisher.publish(settings.topics.raw, b"c1", payload, frame_headers(frame))
        for record in parser.parse(frame):
            assert isinstance(record, Record)
            publisher.publish(settings.topics.normalized, b"binance:BTC-USDT", encode(record))
            records.append(record)
    publisher.flush(30.0)
    file.close()
    return records


def publish_again(settings: Settings, records: list[Record]) -> None:
    """A later range of the topic with identities of an earlier one: two files of the lake hold them."""
    publisher = KafkaPublisher(settings)
    for record in records:
        publisher.publish(settings.topics.normalized, b"binance:BTC-USDT", encode(record))
    publisher.flush(30.0)


def insert_into_clickhouse(settings: Settings, records: list[Record], token: str) -> None:
    with connect(settings, internal=True) as client:
        client.insert(
            batch_path(MARKET_DATA, token, 10_000), delimited([encode(record) for record in records])
        )


def test_every_store_is_read_and_a_planted_loss_is_found(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_with(kafka=True, clickhouse=True, timescale=True, lake_url=str(tmp_path / "lake"))
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    records = run_venue(settings)
    insert_into_clickhouse(settings, records, "first")
    insert_into_clickhouse(settings, records[:3], "again")
    load_timescale(settings)
    export(settings)
    publish_again(settings, [record for record in records if record.kind.name == "BAR"])
    load_timescale(settings)
    export(settings)

    report = reconcile(settings, duration_s=2.0)
    venue = report.venues["binance"]
    identities = {(record.kind, record.record_key) for record in records}
    books = {key for kind, key in identities if kind.name == "BOOK"}
    assert report.reasons() == []
    assert (venue.events_sent, venue.normalized, venue.raw) == (
        len(identities),
        len(identities),
        len(records),
    )
    assert (venue.clickhouse, venue.lake) == (len(identities), len(identities))
    assert venue.timescale == len(identities) - len(books)
    assert (venue.lost, venue.duplicated, venue.missed) == (0, 0, 0)
    assert report.latency_ms["receive_to_clickhouse"].p50 is not None

    lost = next(record for record in records if record.kind.name == "TRADE")
    with psycopg.connect(settings.timescale_address, autocommit=True) as connection:
        connection.execute("DELETE FROM trades WHERE record_key = %s", [lost.record_key])
    report = reconcile(settings, duration_s=2.0)
    assert report.examples == [Example("binance", "lost in timescale", "trade", "BTC-USDT", lost.record_key)]
    write_report(report, tmp_path / "reports" / "r.json")
    assert b'"ok": false' in (tmp_path / "reports" / "r.json").read_bytes()


def test_what_a_venue_answers_while_the_sides_are_read_is_no_unknown_frame(
    settings_with: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(kafka=True)
    sent = run_venue(settings)
    read = truth.read

    def answered_after(path: Path) -> list[TruthLine]:
        lines = list(read(path))
        endpoint, payload = "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1", b"[]"
        digest = digest_of(payload, place_of(endpoint))
        file = TruthFile(path)
        file.write([TruthLine(T0, endpoint, LATE, [EMPTY], digest=digest)])
        file.close()
        frame = Frame("binance", "c2", 1, f"http://127.0.0.1:1/binance{endpoint}", T0, payload)
        publisher = KafkaPublisher(settings)
        publisher.publish(settings.topics.raw, b"c2", payload, frame_headers(frame))
        publisher.flush(30.0)
        return lines

    monkeypatch.setattr(truth, "read", answered_after)
    venue = reconcile(settings, stores=()).venues["binance"]
    assert (venue.unknown_frames, venue.raw, venue.missed_undeclared) == (0, len(sent), 0)
    monkeypatch.undo()
    venue = reconcile(settings, stores=()).venues["binance"]
    assert (venue.unknown_frames, venue.raw) == (0, len(sent) + 1)
