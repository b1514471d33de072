"""The ClickHouse sink against a real broker and the real engine: exact values, exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, get_type_hints

import msgspec
import pytest
from confluent_kafka import KafkaError
from msgspec import structs

from etl import crash
from etl import settings as settings_module
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.kafka import kafka_part
from etl.embedded.ports import free_ports
from etl.errors import MembershipLost, RangeLost, StoreError, StoreRejected
from etl.express.blocks import block_maker
from etl.model.records import (
    RECORD_TYPES,
    BarState,
    Correction,
    CorrectionKind,
    Gap,
    GapKind,
    GapState,
    Kind,
    Quarantined,
    Record,
    Severity,
    Source,
)
from etl.model.tables import TABLE_BY_KIND
from etl.settings import Settings, changed, make
from etl.sinks.clickhouse import ClickHouseSink
from etl.sinks.clickhouse_batch import BY_BLOCKS, BY_LANDING, Intent, token
from etl.sinks.clickhouse_ways import (
    FREQUENT,
    MARKET_DATA,
    QUARANTINED,
    batch_path,
    block_parts,
    delimited,
    landing_parts,
    split_frequent,
)
from etl.sinks.losses import ANY, declare_lost
from etl.sinks.readers import group_of
from etl.sinks.refusals import quarantine
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import SQL_DIR, migrate_clickhouse, statements
from etl.telemetry.sink import SinkMetrics
from etl.transports import kafka_clients
from etl.transports.kafka import KafkaPublisher
from etl.wire.codec import MarketData, QuarantinedMessage, encode, encode_quarantined
from etl.wire.columns import COLUMNS, TIME, Form, Refused
from tests.support import stream, topics
from tests.support.clickhouse_sink import RUN_WITHIN_S, Group, drain, topic_id, with_topics
from tests.support.processes import etl_command
from tests.support.servers import BOTH_SERVERS, RunningPart, clickhouse_database
from tests.support.stream import DAY, MS, START_NS
from tests.support.topics import delete_topic, eventually

pytestmark = pytest.mark.integration

MakeSettings = Callable[..., Settings]
CRASH_POINTS = (crash.AFTER_INTENT, crash.IN_INSERT, crash.AFTER_INSERT, crash.BEFORE_COMMIT)
STORED = ("trades_stored", "quotes_stored", "books_stored", "others_stored", "quarantine_stored")


@pytest.fixture(scope="module")
def database(clickhouse_url: str) -> Iterator[str]:
    """One migrated database for the module."""
    with clickhouse_database(clickhouse_url, "sink_tests") as url:
        migrate_clickhouse(make(clickhouse_url=url))
        yield url


BOTH_TRANSPORTS = pytest.mark.parametrize("transport", ["kafka", "redis"])
"""For what the sink owes to its group."""


@pytest.fixture
def transport() -> str:
    return "kafka"


@pytest.fixture
def settings(settings_with: MakeSettings, database: str, transport: str) -> Settings:
    """Topics of its own and empty tables; two partitions; batches small enough to be several."""
    asked = {transport: True}
    made = settings_with(**asked, clickhouse_url=database)
    with connect(made, internal=True) as client:
        for table in STORED:
            client.execute(f"TRUNCATE TABLE {table}")
    return with_topics(made, sink_group=made.topics.normalized)


def prepared(settings: Settings, **values: Any) -> Settings:
    migrate_clickhouse(settings)
    return with_topics(settings, **values)


@contextmanager
def running_sink(settings: Settings) -> Iterator[SinkMetrics]:
    """A sink on a thread; what it raised is raised at the end."""
    stop, metrics = threading.Event(), SinkMetrics("clickhouse")
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(ClickHouseSink(settings, metrics).run, stop)
        try:
            yield metrics
        finally:
            stop.set()
        running.result(RUN_WITHIN_S)


def query(settings: Settings, sql: str, *, internal: bool = False) -> list[dict[str, Any]]:
    """``internal``: of the tables under the views."""
    with connect(settings, internal=internal) as client:
        answer = client.execute(
            f"{sql} FORMAT JSONEachRow",
            {"output_format_json_quote_64bit_integers": "0", "output_format_json_quote_decimals": "1"},
        )
    return [msgspec.json.decode(line) for line in answer.splitlines()]


def value(settings: Settings, sql: str, *, internal: bool = False) -> Any:
    (row,) = query(settings, sql, internal=internal)
    (found,) = row.values()
    return found


def count(settings: Settings, table: str) -> int:
    return int(value(settings, f"SELECT count() AS n FROM {table}", internal=table.endswith("_stored")))


def insert(settings: Settings, records: Sequence[Record], name: str) -> None:
    """Under a token that is this test's own."""
    insert_as(settings, records, f"{settings.topics.normalized}/{name}")


def insert_as(settings: Settings, records: Sequence[Record], token: str) -> None:
    frequent, others = split_frequent([encode(record) for record in records])
    with connect(settings, internal=True) as client:
        for landing, values in ((MARKET_DATA, others), (FREQUENT, frequent)):
            if values:
                client.insert(batch_path(landing, token, 10_000), delimited(values))


# ── what comes out is what went in ───────────────────────────────────────────────────────────────────────────

DECIMALS: tuple[str, ...] = (
    "0",
    "1.5",
    "-0.00000001",
    "61837.63000000",
    "9999999999.99999999",
    "10000000000",
    "0.123456789",
)
DECIMALS += ("-1234567890123456789.1234567890123456789", "0.0000000000000000001")
KEYS = (
    "{}",
    "d/{}",
    "2024-08-08/4/1/{}",
    "x/{}/007",
    "{}/0",
    "{}/99999999999999999999999",
    "{}-uuid",
    "{}/",
    "{}#1",
)


def any_record(record_type: type[Record], number: int, chance: random.Random) -> Record:
    """A record of this type with every field filled at random, empty ones among them."""
    hints = get_type_hints(record_type)
    values: dict[str, Any] = {}
    levels = chance.choice([0, 1, 3]), chance.choice([0, 1, 3])
    for column in COLUMNS[record_type.kind]:
        name = column.name
        if column is TIME:
            continue
        if column.form is Form.DECIMAL:
            values[name] = chance.choice([None, *DECIMALS])
        elif column.form is Form.DECIMALS:
            size = levels[name.startswith("ask")]
            values[name] = tuple(chance.choice(DECIMALS) for _ in range(size))
        elif column.form is Form.INTEGERS:
            size = levels[name.startswith("ask")]
            values[name] = tuple(chance.randrange(9) for _ in range(size)) if number % 2 else ()
        elif column.form is Form.TEXTS:
            values[name] = tuple(chance.choice(["@", "T", "ünï", "a b"]) for _ in range(chance.randrange(3)))
        elif column.form is Form.NAME:
            values[name] = chance.choice(list(hints[name]))
        elif column.form is Form.TIME:
            values[name] = chance.choice([0, START_NS + chance.randrange(DAY)])
        elif column.form is Form.INTEGER:
            values[name] = (
                chance.choice([None, 0, 7, 2**62]) if column.optional else chance.randrange(1 << 20)
            )
        else:
            values[name] = chance.choice(["", "A", "ß'\\\t\n", f"{number}"])
    key_time_ns = START_NS + number * MS
    values |= {"exchange": "any", "symbol": f"S{number % 3}", "key_time_ns": key_time_ns, "parser_version": 1}
    values |= {"event_time_ns": chance.choice([0, key_time_ns, key_time_ns + 123]), "source": Source.STREAM}
    values |= {
        "record_key": chance.choice(KEYS).format(number),
        "receive_time_ns": key_time_ns + chance.randrange(10**9),
    }
    if "trade_id" in values:
        values["trade_id"] = chance.choice([values["record_key"].rsplit("/", 1)[-1], "", "other"])
    values["sequence"] = chance.choice([None, 0, number, -5])
    for name in ("from_time_ns", "to_time_ns"):
        if name in values:
            values[name] = START_NS + number
    return record_type(**values)


def expected(record: Record) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in COLUMNS[record.kind]:
        if column is TIME:
            row["time_ns"] = record.event_time_ns or record.receive_time_ns
            continue
        found = getattr(record, column.name)
        if column.form is Form.DECIMAL:
            row[column.name] = None if found is None else Decimal(found)
        elif column.form is Form.DECIMALS:
            row[column.name] = [Decimal(text) for text in found]
        elif column.form is Form.NAME:
            row[column.name] = column.names[found]
        else:
            row[column.name] = list(found) if isinstance(found, tuple) else found
    return row


def stored(settings: Settings, kind: Kind) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of the view by (symbol, key), in the form of ``expected``."""
    exact = "*, toUnixTimestamp64Nano(key_time) AS key_time_ns, toUnixTimestamp64Nano(time) AS time_ns"
    found: dict[tuple[str, str], dict[str, Any]] = {}
    order = "side, level" if kind is Kind.BOOK else "tuple()"
    for row in query(settings, f"SELECT {exact} FROM {TABLE_BY_KIND[kind]} ORDER BY {order}"):
        identity = row["symbol"], row["record_key"]
        if kind is Kind.BOOK:
            found.setdefault(identity, as_message(row))
            add_level(found[identity], row)
        else:
            assert identity not in found
            found[identity] = row
    for row in found.values():
        for column in COLUMNS[kind]:
            if column.form is Form.DECIMAL and row[column.name] is not None:
                row[column.name] = Decimal(row[column.name])
    return {key: {column.name: row[column.name] for column in COLUMNS[kind]} for key, row in found.items()}


def as_message(row: dict[str, Any]) -> dict[str, Any]:
    names = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes", "bid_orders", "ask_orders")
    return {**row, **{name: [] for name in names}}


def add_level(message: dict[str, Any], row: dict[str, Any]) -> None:
    side = row["side"]
    if side == "":
        assert row["price"] is None
        return
    assert row["level"] == len(message[f"{side}_prices"])
    message[f"{side}_prices"].append(Decimal(row["price"]))
    message[f"{side}_sizes"].append(Decimal(row["size"]))
    if row["orders"] is not None:
        message[f"{side}_orders"].append(row["orders"])


@BOTH_SERVERS
def test_records_of_every_kind_come_out_exactly_as_they_went_in(settings_with: MakeSettings) -> None:
    settings = prepared(settings_with(kafka=True, clickhouse=True))
    chance = random.Random(7)
    records = [any_record(kind, number, chance) for number in range(150) for kind in RECORD_TYPES]
    stream.publish(settings, *records)
    drain(settings)
    for kind in Kind:
        sent = {(r.symbol, r.record_key): expected(r) for r in records if r.kind is kind}
        assert stored(settings, kind) == sent, kind


def test_views_have_the_fields_of_their_records_and_no_others(settings: Settings) -> None:
    times = {"time", "key_time", "event_time", "receive_time", "stored_time"}
    arrays = {"bid_prices", "bid_sizes", "ask_prices", "ask_sizes", "bid_orders", "ask_orders"}
    level = {"side", "level", "price", "size", "orders"}
    for kind, table in TABLE_BY_KIND.items():
        names = {row["name"] for row in query(settings, f"DESCRIBE TABLE {table}")}
        fields = {column.name for column in COLUMNS[kind]} - {"time_ns", "key_time_ns"}
        assert names == (fields - arrays | times | (level if kind is Kind.BOOK else set())), table


def test_quarantined_items_come_out_exactly_and_the_newest_outcome_holds(settings: Settings) -> None:
    held = Quarantined(
        code="undecodable",
        severity=Severity.HARD,
        reason="not JSON: 'x'",
        exchange="binance",
        endpoint="wss://x/stream?streams=a",
        receive_time_ns=START_NS + 5,
        source=Source.STREAM,
        connection_id=stream.CONNECTION,
        frame_sequence=7,
        frame_index=1,
        parser_version=2,
        payload=b"\x00\xff{",
        record=b"\x08\x01",
        symbol="BTC-USDT",
        rule="r",
    )
    published = structs.replace(held, outcome=type(held.outcome)(2), outcome_time_ns=START_NS + 9)
    with connect(settings, internal=True) as client:
        for name, item in (("b", published), ("a", held)):
            client.insert(
                batch_path(QUARANTINED, f"{settings.topics.normalized}/{name}", 10),
                delimited([encode_quarantined(item)]),
            )
    (row,) = query(
        settings, "SELECT * EXCEPT (payload, record), hex(payload) AS p, hex(record) AS r FROM quarantine"
    )
    assert (row["code"], row["severity"], row["reason"], row["rule"]) == (
        "undecodable",
        "hard",
        held.reason,
        "r",
    )
    assert (row["p"], row["r"], row["outcome"], row["outcome_time_ns"]) == (
        "00FF7B",
        "0801",
        "published",
        START_NS + 9,
    )
    assert (row["exchange"], row["symbol"], row["endpoint"]) == (held.exchange, held.symbol, held.endpoint)
    assert (row["frame_sequence"], row["frame_index"], row["parser_version"]) == (7, 1, 2)


# ── what collapses ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_batch_twice_is_stored_once_and_the_same_records_in_another_are_seen_once(
    settings: Settings,
) -> None:
    records = [make(n) for n in range(20) for make in (stream.trade, stream.quote, stream.book, stream.gap)]
    for _ in range(2):
        insert(settings, records, "one token")
    assert [count(settings, f"{t}_stored") for t in ("trades", "quotes", "book_updates", "gaps")] == [
        20,
        20,
        60,
        20,
    ]
    repaired = [structs.replace(record, source=Source.REPAIR) for record in records[::-1]]
    insert(settings, repaired, "another token")
    assert [count(settings, t) for t in ("trades", "quotes", "book_updates", "gaps")] == [20, 20, 60, 20]


def test_of_one_bar_the_further_state_then_the_later_one_wins(settings: Settings) -> None:
    closed = stream.bar(1)
    forming = structs.replace(
        closed, bar_state=BarState.OPEN, receive_time_ns=closed.receive_time_ns + 10**12
    )
    later = structs.replace(closed, close="1.75", receive_time_ns=closed.receive_time_ns + 1)
    for number, bar in enumerate((later, closed, forming)):
        insert(settings, [bar], str(number))
    (row,) = query(settings, "SELECT bar_state, close FROM bars")
    assert row == {"bar_state": "closed", "close": "1.75"}


def test_of_one_gap_the_last_state_wins(settings: Settings) -> None:
    opened = stream.gap(1)
    repaired = structs.replace(
        opened, gap_state=GapState.REPAIRED, receive_time_ns=opened.receive_time_ns + 1
    )
    for number, gap in enumerate((repaired, opened)):
        insert(settings, [gap], str(number))
    assert query(settings, "SELECT gap_state FROM gaps") == [{"gap_state": "repaired"}]


def test_of_equal_identities_the_newer_parsers_record_wins(settings: Settings) -> None:
    for number, version in enumerate((2, 1)):
        insert(settings, [stream.trade(1, parser_version=version, volume=str(version))], str(number))
    assert query(settings, "SELECT parser_version, volume FROM trades") == [
        {"parser_version": 2, "volume": "2"}
    ]


def test_voided_trades_leave_the_corrected_view_and_corrected_prints_stand_in(settings: Settings) -> None:
    trades = [stream.trade(n, record_key=f"2024-08-08/V/{n}", volume="1") for n in range(3)]
    base = {name: getattr(trades[0], name) for name in Record.__struct_fields__}
    corrections = [
        Correction(
            **{**base, "record_key": f"2024-08-08/V/{number}/{kind.name.lower()}"},
            original_trade_id=str(number),
            correction=kind,
            volume=size,
        )
        for number, kind, size in ((1, CorrectionKind.CANCEL, None), (2, CorrectionKind.CORRECT, "5"))
    ]
    insert(settings, [*trades, *corrections], "a")
    rows = query(settings, "SELECT record_key, volume, corrected FROM trades_corrected ORDER BY record_key")
    assert rows == [
        {"record_key": "2024-08-08/V/0", "volume": "1", "corrected": False},
        {"record_key": "2024-08-08/V/2/correct", "volume": "5", "corrected": True},
    ]
    assert count(settings, "trades") == 3


def test_ticks_gives_the_seed_schema(settings: Settings) -> None:
    insert(settings, [stream.trade(1), stream.quote(2)], "a")
    rows = query(settings, "SELECT * EXCEPT (id, ts) FROM ticks ORDER BY last IS NULL")
    bare = {"symbol": "BTC-USDT", "provider": "binance"}
    assert rows == [
        {**bare, "bid": None, "ask": None, "last": "61838.01", "volume": "0.02"},
        {**bare, "bid": "61837.63", "ask": "61837.64", "last": None, "volume": None},
    ]


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────


def test_records_that_the_store_refuses_are_quarantined_one_by_one_and_the_rest_is_stored(
    settings: Settings,
) -> None:
    bad = {
        b"\x0a\xff\xff": "cannot be read",
        b"": "no kind",
        encode(stream.trade(1000, last_price="1" * 30)): "30 digits",
        encode(stream.trade(1001, record_key="")): "no identity",
        encode(stream.book(1002, bid_sizes=("1",))): "uneven levels",
    }
    values = [("binance", "BTC-USDT", encode(stream.trade(number))) for number in range(300)]
    for place, refused in zip((0, 17, 150, 299, 301), bad, strict=True):
        values.insert(place, ("binance", "BTC-USDT", refused))
    stream.publish_values(settings, *values)
    drain(settings)
    assert count(settings, "trades_stored") == 300
    assert count(settings, "book_updates_stored") == 0
    rows = query(settings, "SELECT code, severity, hex(record) AS record FROM quarantine")
    assert {row["record"] for row in rows} == {refused.hex().upper() for refused in bad}
    assert {(row["code"], row["severity"]) for row in rows} == {("store_rejected", "hard")}


def test_numbers_that_no_enum_here_has_are_refused_and_never_another_member(settings: Settings) -> None:
    """As a rolling upgrade sends them: ``columns.decode`` refuses the same for the other stores."""
    foreign: set[bytes] = set()
    for record in (stream.trade(1), stream.quote(1), stream.book(1), stream.bar(1), stream.gap(1)):
        for field in {c.name for c in COLUMNS[record.kind] if c.form is Form.NAME}:
            for number in (99, -1):
                message: Any = MarketData.FromString(encode(record))
                setattr(message, field, number)
                message.frame_sequence = len(foreign) + 1  # an item of its own
                foreign.add(bytes(message.SerializeToString()))
    (odd,) = [Quarantined("code", Severity.HARD, "", "binance", "", START_NS, Source.STREAM, "c", 1, 0, 1)]
    item: Any = QuarantinedMessage.FromString(encode_quarantined(odd))
    item.source = 99
    stream.publish_values(settings, *[("binance", "BTC-USDT", value) for value in foreign])
    publisher = KafkaPublisher(settings)
    publisher.publish(settings.topics.quarantine, b":", item.SerializeToString())
    publisher.publish(settings.topics.quarantine, b":", b"\xff" * (producer_bytes(settings) - 200))
    publisher.flush(30.0)
    stream.publish(settings, stream.trade(2))
    drain(settings)
    assert [count(settings, table) for table in STORED[:4]] == [1, 0, 0, 0]
    rows = query(settings, "SELECT hex(record) AS record FROM quarantine")
    kept = [*foreign, b"", bytes(item.SerializeToString())]
    assert sorted(row["record"] for row in rows) == sorted(value.hex().upper() for value in kept)


def producer_bytes(settings: Settings) -> int:
    return settings.producer.message_bytes_max


def test_what_a_store_puts_on_a_topic_is_keyed_by_instrument(settings: Settings) -> None:
    refused = encode(stream.trade(1, last_price="1" * 30))
    quarantine(
        settings, [(Refused(7, "too long"), refused), (Refused(8, "no message"), b"\xff")], "clickhouse"
    )
    declare_lost(settings, "clickhouse", settings.topics.normalized, 0, "an id", 0, 9, "gone")
    keys = {
        topic: {message.key for message in topics.messages(settings, topic)}
        for topic in (settings.topics.quarantine, settings.topics.normalized)
    }
    assert keys[settings.topics.quarantine] == {b"binance:BTC-USDT", b":"}
    assert keys[settings.topics.normalized] == {b"*:*"}


def test_a_store_that_refuses_everything_stops_the_sink_instead_of_emptying_the_topic(
    settings: Settings,
) -> None:
    stream.publish_values(settings, *[("b", "s", b"\x0a\xff\xff" + bytes([n])) for n in range(40)])
    with pytest.raises(StoreError, match="more than 10 messages"):
        drain(changed(settings, sink_rejected_max=10))


def test_what_is_refused_beyond_the_limit_is_quarantined_once_and_what_is_behind_is_stored(
    settings: Settings,
) -> None:
    limited = changed(settings, sink_rejected_max=10)
    bad = [b"\x0a\xff\xff" + bytes([n]) for n in range(40)]
    stream.publish_values(settings, *[("binance", "BTC-USDT", value) for value in bad])
    alone = len(bad)
    for _ in range(2):
        with pytest.raises(StoreError, match=r"nothing is quarantined.*raise ETL_SINK_REJECTED_MAX"):
            drain(limited)
    assert topics.quarantined(settings) == []
    group = Group(settings)
    partition, low = group.filled()
    stream.publish(settings, *[stream.trade(n) for n in range(100)])
    group.intend(
        partition,
        Intent(
            topic_id=topic_id(settings), start=low, end=low + alone + 10, rows=alone + 10, time_s=time.time()
        ),
    )
    with pytest.raises(StoreError, match=r"40 of 50 messages were refused.*ETL_SINK_REJECTED_MAX"):
        drain(limited)
    drain(limited)
    assert_exactly_once(settings, 100)
    assert sorted(item.record for item in topics.quarantined(settings)) == sorted(bad)


def test_a_missing_table_stops_the_sink_and_nothing_is_committed(settings: Settings) -> None:
    stream.publish(settings, stream.bar(1), stream.trade(1))
    with connect(settings, internal=True) as client:
        definition = client.execute("SHOW CREATE TABLE market_data FORMAT TSVRaw").decode()
        client.execute("DROP TABLE market_data")
        try:
            with pytest.raises(StoreError, match="market_data"):
                drain(settings)
        finally:
            client.execute(definition)
    assert count(settings, "trades_stored") == 0
    drain(settings)
    assert (count(settings, "trades_stored"), count(settings, "others_stored")) == (1, 1)


def test_a_refused_insert_leaves_no_part_of_its_batch(settings: Settings) -> None:
    with pytest.raises(StoreRejected):
        insert(settings, [stream.trade(1), stream.quote(1), stream.book(1, bid_sizes=())], "a")
    assert sum(count(settings, table) for table in STORED) == 0


# ── exactly once ─────────────────────────────────────────────────────────────────────────────────────────────


def run_process(settings: Settings, crash_point: str = "") -> subprocess.Popen[bytes]:
    (port,) = free_ports(1)
    made = changed(settings, metrics_port=port)
    environment = {**settings_module.as_environment(made), "PATH": "/usr/bin:/bin"}
    command = etl_command("sink", "clickhouse", crash_point=crash_point)
    return subprocess.Popen(command, env=environment)


def assert_exactly_once(settings: Settings, trades: int) -> None:
    """Physically: not merely through the views."""
    numbers = value(
        settings,
        "SELECT (count(), uniqExact(record_key), count() - uniqExact(_part, _part_offset)) AS n"
        " FROM trades_stored",
        internal=True,
    )
    assert list(numbers)[:2] == [trades, trades]


@BOTH_TRANSPORTS
@pytest.mark.parametrize("point", CRASH_POINTS)
def test_a_sink_killed_at_any_point_stores_everything_once_after_its_restart(
    settings: Settings, point: str
) -> None:
    settings = changed(settings, sink_instance="one")
    stream.publish(settings, *[stream.trade(n, symbol=f"S{n % 5}") for n in range(3_000)])
    dying = run_process(settings, point)
    assert dying.wait(RUN_WITHIN_S) == -9
    drain(settings)
    assert_exactly_once(settings, 3_000)


@pytest.mark.parametrize("goes_on", ["with blocks", "without"])
def test_a_sink_killed_between_the_inserts_of_a_batch_stores_each_kind_once(
    settings: Settings, goes_on: str
) -> None:
    """Also if who goes on makes no blocks, and sends by another way what is left."""
    settings = changed(settings, sink_instance="one")
    makers = (stream.trade, stream.bar)  # a ready block, and what is landed before
    stream.publish(settings, *[make(n, symbol=f"S{n % 5}") for n in range(400) for make in makers])
    dying = run_process(settings, crash.BETWEEN_INSERTS)
    assert dying.wait(RUN_WITHIN_S) == -9
    drain(changed(settings, express=goes_on == "with blocks"))
    for table in ("trades_stored", "others_stored"):
        numbers = f"SELECT (count(), uniqExact(symbol, record_key)) AS n FROM {table}"
        assert list(value(settings, numbers, internal=True)) == [400, 400], table


@pytest.mark.parametrize("version", [BY_LANDING, BY_BLOCKS])
@pytest.mark.parametrize("stored", ["nothing", "some", "all"])
def test_an_intent_goes_the_way_that_it_was_intended_to_go(
    settings: Settings, version: int, stored: str
) -> None:
    """Whoever finds it: the server knows its blocks by the tokens of that way."""
    records = [make(n) for n in range(40) for make in (stream.trade, stream.quote, stream.bar)]
    stream.publish(settings, *records)
    group = Group(settings)
    partition, low = group.filled()
    made = topic_id(settings)
    intent = Intent(topic_id=made, start=low, end=low + 90, rows=90, time_s=time.time(), v=version)
    group.intend(partition, intent)
    name = token(group.cluster_id(), made, partition, low, low + 90, version)
    values = [encode(record) for record in records[:90]]
    blocks, others = block_parts(values, block_maker()) if version == BY_BLOCKS else ((), values)
    parts = [*landing_parts(others, quarantined=False), *blocks]
    with connect(settings, internal=True) as client:
        for part in parts[: {"nothing": 0, "some": 1, "all": len(parts)}[stored]]:
            client.insert(part.path(name, 10_000), part.body)
    drain(settings)
    for table in ("trades_stored", "quotes_stored", "others_stored"):
        numbers = f"SELECT (count(), uniqExact(record_key)) AS n FROM {table}"
        assert list(value(settings, numbers, internal=True)) == [40, 40], table


@BOTH_TRANSPORTS
def test_an_intent_is_resumed_with_its_own_bounds_and_token(settings: Settings) -> None:
    """What a sink that died after its insert leaves behind; batches cut anew would have other tokens."""
    records = [stream.trade(n) for n in range(100)]
    stream.publish(settings, *records)
    group = Group(settings)
    partition, low = group.filled()
    intent = Intent(topic_id=topic_id(settings), start=low, end=low + 37, rows=37, time_s=time.time())
    group.intend(partition, intent)
    cluster = group.cluster_id()
    insert_as(settings, records[:37], token(cluster, intent.topic_id, partition, low, low + 37, intent.v))
    drain(settings)
    assert_exactly_once(settings, 100)


def test_rows_that_a_killed_store_did_not_write_under_a_token_that_it_knows_are_stored(
    settings: Settings,
) -> None:
    records = [make(n) for n in range(40) for make in (stream.trade, stream.quote)]
    stream.publish(settings, *records)
    group = Group(settings)
    partition, low = group.filled()
    intent = Intent(topic_id=topic_id(settings), start=low, end=low + 80, rows=80, time_s=time.time())
    group.intend(partition, intent)
    admin = kafka_clients.admin(settings)
    cluster = str(admin.describe_cluster().result().cluster_id)
    insert_as(settings, records, token(cluster, intent.topic_id, partition, low, low + 80, intent.v))
    with connect(settings, internal=True) as client:
        client.execute("ALTER TABLE trades_stored DELETE WHERE true", {"mutations_sync": "1"})
    assert (count(settings, "trades_stored"), count(settings, "quotes_stored")) == (0, 40)
    drain(settings)
    assert (count(settings, "trades_stored"), count(settings, "quotes_stored")) == (40, 40)


@BOTH_TRANSPORTS
def test_an_intent_larger_than_todays_batches_is_carried_out_with_its_own_bounds(settings: Settings) -> None:
    stream.publish(settings, *[stream.trade(n) for n in range(200)])
    group = Group(settings)
    partition, low = group.filled()
    group.intend(
        partition,
        Intent(topic_id=topic_id(settings), start=low, end=low + 150, rows=150, time_s=time.time()),
    )
    drain(changed(settings, sink_batch_rows_max=20))
    assert_exactly_once(settings, 200)
    parts = "SELECT max(n) AS n FROM (SELECT count() AS n FROM trades_stored GROUP BY _part)"
    assert value(settings, parts, internal=True) >= 150


@BOTH_TRANSPORTS
def test_an_intent_older_than_the_window_is_looked_up_before_it_is_sent_again(settings: Settings) -> None:
    records = [make(n) for n in range(50) for make in (stream.trade, stream.quote, stream.book, stream.gap)]
    stream.publish(settings, *records)
    group = Group(settings)
    partition, low = group.filled()
    group.intend(partition, Intent(topic_id=topic_id(settings), start=low, end=low + 60, rows=60, time_s=1.0))
    insert(settings, records[:60], "a token that the server has forgotten")
    drain(settings)
    assert_exactly_once(settings, 50)
    assert [count(settings, table) for table in ("books_stored", "others_stored")] == [50, 50]


def lost_ranges(settings: Settings) -> list[tuple[object, ...]]:
    """(kind, state, first, last) of the gaps that stores have declared."""
    gaps = [
        record for record in topics.records(settings) if isinstance(record, Gap) and record.exchange == ANY
    ]
    return [(gap.gap_kind, gap.gap_state, gap.from_sequence, gap.to_sequence) for gap in gaps]


@BOTH_TRANSPORTS
def test_what_retention_took_of_an_intent_is_declared_and_the_rest_is_stored(settings: Settings) -> None:
    stream.publish(settings, *[stream.trade(n) for n in range(100)])
    group = Group(settings)
    partition, low = group.filled()
    group.intend(
        partition,
        Intent(topic_id=topic_id(settings), start=low, end=low + 50, rows=50, time_s=time.time()),
    )
    topics.delete_before(settings, settings.topics.normalized, partition, low + 20)
    drain(settings)
    assert_exactly_once(settings, 80)
    assert lost_ranges(settings) == [(GapKind.OVERFLOW, GapState.UNREPAIRABLE, 0, 19)]
    assert value(settings, "SELECT (exchange, from_sequence, to_sequence) AS n FROM gaps") == [ANY, 0, 19]


@BOTH_TRANSPORTS
def test_a_topic_that_lost_its_end_stops_the_sink_for_its_offsets_come_again(settings: Settings) -> None:
    stream.publish(settings, *[stream.trade(n) for n in range(100)])
    group = Group(settings)
    partition, low = group.filled()
    group.intend(
        partition,
        Intent(topic_id=topic_id(settings), start=low, end=low + 150, rows=150, time_s=time.time()),
    )
    with pytest.raises(RangeLost, match="make the topic anew"):
        drain(settings)
    assert lost_ranges(settings) == [(GapKind.OVERFLOW, GapState.UNREPAIRABLE, 100, 149)]


def test_retention_that_overtakes_a_sink_while_its_store_is_down_is_declared_and_passed_over(
    settings_with: MakeSettings, crashable: Callable[..., RunningPart]
) -> None:
    store = crashable(clickhouse_part)
    settings = prepared(
        settings_with(kafka=True, clickhouse_url=store.settings.clickhouse_address),
        sink_retry_wait_max_s=0.5,
        topic_partitions=1,
    )
    stream.publish(settings, *[stream.trade(n) for n in range(1_000)])
    with running_sink(settings) as metrics:
        eventually(lambda: count(settings, "trades_stored") == 1_000)
        store.kill()
        stream.publish(settings, *[stream.trade(n) for n in range(1_000, 10_000)])
        eventually(lambda: gauge(metrics, "etl_sink_backlog_messages") >= 9_000)
        topics.delete_before(settings, settings.topics.normalized, 0, 8_000)
        store.start()
        eventually(Group(settings).drained, RUN_WITHIN_S)
    ((_, _, first, last),) = lost_ranges(settings)
    assert (1_000 < first < 8_000, last) == (True, 7_999)  # type: ignore[operator]
    assert_exactly_once(settings, 10_000 - (last - first + 1))  # type: ignore[operator]


@BOTH_TRANSPORTS
def test_a_topic_made_anew_is_not_taken_for_the_old_one(settings: Settings) -> None:
    stream.publish(settings, *[stream.trade(n) for n in range(30)])
    drain(settings)
    delete_topic(settings, settings.topics.normalized)
    stream.publish(settings, *[stream.trade(n) for n in range(100, 150)])
    drain(settings)
    assert_exactly_once(settings, 80)


@BOTH_TRANSPORTS
def test_a_topic_made_anew_under_a_running_sink_is_begun_anew(settings: Settings) -> None:
    """With the same bounds, whose tokens the server would take for those of the old topic."""
    stream.publish(settings, *[stream.trade(n) for n in range(100)])
    with running_sink(settings):
        eventually(Group(settings).drained, RUN_WITHIN_S)
        delete_topic(settings, settings.topics.normalized)
        stream.publish(settings, *[stream.trade(n) for n in range(1_000, 1_100)])
        eventually(lambda: count(settings, "trades") == 200, RUN_WITHIN_S)
    assert_exactly_once(settings, 200)


@BOTH_TRANSPORTS
def test_two_sinks_share_the_topic_and_one_takes_over_from_the_other(settings: Settings) -> None:
    sent = 0

    def publish(number: int) -> int:
        stream.publish(settings, *[stream.trade(n, symbol=f"S{n % 9}") for n in range(sent, sent + number)])
        return sent + number

    sent = publish(2_000)
    with running_sink(settings):
        with running_sink(settings):
            sent = publish(2_000)
            eventually(Group(settings).drained, RUN_WITHIN_S)
            sent = publish(2_000)
        sent = publish(2_000)
        eventually(Group(settings).drained, RUN_WITHIN_S)
    assert_exactly_once(settings, sent)


def test_a_sink_whose_place_in_the_group_was_taken_joins_again_and_ends_if_that_comes_again(
    settings: Settings,
) -> None:
    """Once is a standstill, when the broker takes its own joining for another's; twice is another with its name."""
    settings = changed(settings, sink_instance="only-one")
    stream.publish(settings, stream.trade(1))
    stop = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        running = executor.submit(ClickHouseSink(settings, SinkMetrics("clickhouse")).run, stop)
        try:
            eventually(Group(settings).drained, RUN_WITHIN_S)
            with taking_its_place(settings) as shut_out:
                eventually(shut_out, RUN_WITHIN_S)
            stream.publish(settings, stream.trade(2))
            eventually(Group(settings).drained, RUN_WITHIN_S)
            with taking_its_place(settings) as shut_out:
                eventually(lambda: (shut_out(), running.done())[1], RUN_WITHIN_S)
        finally:
            stop.set()
        with pytest.raises(MembershipLost, match="fenced"):
            running.result(RUN_WITHIN_S)
    assert_exactly_once(settings, 2)


@contextmanager
def taking_its_place(settings: Settings) -> Iterator[Callable[[], bool]]:
    """Another of its name; gives what polls it, and says whether it was shut out in its turn."""
    other = kafka_clients.consumer(
        settings,
        group_of(settings),
        {"group.instance.id": "only-one", "partition.assignment.strategy": "cooperative-sticky"},
    )
    other.subscribe([settings.topics.normalized])

    def shut_out() -> bool:
        message = other.poll(0.1)
        error = None if message is None else message.error()
        return error is not None and error.code() == KafkaError._FATAL

    yield shut_out
    other.close()


def test_a_batch_that_was_stored_before_the_first_restart_is_known_after_it(
    settings_with: MakeSettings, crashable: Callable[..., RunningPart]
) -> None:
    store = crashable(clickhouse_part)
    settings = settings_with(clickhouse_url=store.settings.clickhouse_address)
    migrate_clickhouse(settings)
    makes = (stream.trade, stream.quote, stream.book, stream.bar)
    records = [encode(make(n)) for n in range(3) for make in makes]
    item = Quarantined("code", Severity.HARD, "", "binance", "", START_NS, Source.STREAM, "c", 1, 0, 1)
    items = [encode_quarantined(structs.replace(item, frame_sequence=n)) for n in range(3)]

    def send() -> None:
        with connect(settings, internal=True) as client:
            for landing, values in (
                (MARKET_DATA, records),
                (FREQUENT, split_frequent(records)[0]),
                (QUARANTINED, items),
            ):
                client.insert(batch_path(landing, landing.table, 10_000), delimited(values))

    send()
    before = {table: count(settings, table) for table in STORED}
    store.restart()
    send()
    assert {table: count(settings, table) for table in STORED} == before
    assert before == {**dict.fromkeys(STORED[:3], 6), "others_stored": 3, "quarantine_stored": 3}


def test_a_store_that_is_killed_stops_consumption_and_loses_nothing(
    settings_with: MakeSettings, crashable: Callable[..., RunningPart]
) -> None:
    store = crashable(clickhouse_part)
    settings = prepared(
        settings_with(kafka=True, clickhouse_url=store.settings.clickhouse_address), sink_retry_wait_max_s=0.5
    )
    stream.publish(settings, *[stream.trade(n) for n in range(1_000)])
    with running_sink(settings) as metrics:
        eventually(lambda: count(settings, "trades_stored") > 0)
        store.kill()
        stream.publish(settings, *[stream.trade(n) for n in range(1_000, 5_000)])
        eventually(lambda: gauge(metrics, "etl_sink_store_up") == 0)
        eventually(lambda: gauge(metrics, "etl_sink_backlog_messages") >= 4_000)
        store.start()
        eventually(Group(settings).drained, RUN_WITHIN_S)
        assert gauge(metrics, "etl_sink_store_up") == 1
    assert_exactly_once(settings, 5_000)


@pytest.mark.parametrize("left_of_it", [0, 200])
def test_a_copy_of_the_schema_that_a_full_disk_cut_off_stops_nothing(
    settings_with: MakeSettings, crashable: Callable[..., RunningPart], left_of_it: int
) -> None:
    store = crashable(clickhouse_part)
    settings = prepared(settings_with(kafka=True, clickhouse_url=store.settings.clickhouse_address))
    stream.publish(settings, *[stream.bar(n) for n in range(100)])
    drain(settings)
    copies = [*store.settings.state_path.glob("clickhouse/__cache__/*.proto")]
    assert copies
    store.kill()
    for copy in copies:
        os.truncate(copy, left_of_it)
    store.start()
    stream.publish(settings, *[stream.bar(n) for n in range(100, 300)])
    drain(settings)
    assert count(settings, "bars") == 300
    assert count(settings, "quarantine_stored") == 0


def test_a_sink_that_is_ended_does_not_wait_for_a_store_that_stands_still(
    settings_with: MakeSettings, crashable: Callable[..., RunningPart]
) -> None:
    store = crashable(clickhouse_part)
    settings = prepared(
        settings_with(kafka=True, clickhouse_url=store.settings.clickhouse_address),
        sink_instance="one",
        sink_revoke_wait_s=0.5,
    )
    sink = run_process(settings)
    stream.publish(settings, stream.trade(0))
    eventually(lambda: count(settings, "trades_stored") == 1)
    group = Group(settings)
    before = group.intents()
    os.killpg(store.pid, signal.SIGSTOP)
    stream.publish(settings, *[stream.trade(n) for n in range(1, 1_000)])
    eventually(lambda: group.intents() != before)
    sink.terminate()
    assert sink.wait(RUN_WITHIN_S) == 0
    os.killpg(store.pid, signal.SIGCONT)
    drain(settings)
    assert_exactly_once(settings, 1_000)


def test_a_broker_that_is_killed_stops_the_sink_until_it_is_back(
    settings_with: MakeSettings, crashable: Callable[..., RunningPart]
) -> None:
    broker = crashable(kafka_part)
    settings = prepared(settings_with(clickhouse=True, kafka_url=broker.settings.kafka_bootstrap))
    stream.publish(settings, *[stream.trade(n) for n in range(1_000)])
    with running_sink(settings):
        eventually(lambda: count(settings, "trades_stored") == 1_000)
        broker.restart()
        stream.publish(settings, *[stream.trade(n) for n in range(1_000, 2_000)])
        eventually(Group(settings).drained, RUN_WITHIN_S)
    assert_exactly_once(settings, 2_000)


def test_one_batch_is_one_part_of_each_table_it_touches(settings: Settings) -> None:
    records = [make(n) for n in range(4_000) for make in (stream.trade, stream.quote)]
    insert(settings, records, "a")
    parts = query(
        settings,
        "SELECT table, count() AS n FROM system.parts WHERE database = currentDatabase()"
        " AND active AND table IN ('trades_stored', 'quotes_stored') GROUP BY table",
        internal=True,
    )
    assert {row["table"]: int(row["n"]) for row in parts} == {"trades_stored": 1, "quotes_stored": 1}


@BOTH_TRANSPORTS
def test_sigterm_finishes_commits_and_exits_with_zero(settings: Settings) -> None:
    settings = changed(settings, sink_linger_ms=0)
    stream.publish(settings, *[stream.trade(n) for n in range(700)])
    process = run_process(settings)
    eventually(lambda: count(settings, "trades_stored") > 0)
    process.terminate()
    assert process.wait(RUN_WITHIN_S) == 0
    assert sum(Group(settings).committed(settings.topics.normalized).values()) == count(
        settings, "trades_stored"
    )


def gauge(metrics: SinkMetrics, name: str) -> float:
    totals: dict[str, float] = defaultdict(float)
    for family in metrics.registry.collect():
        for sample in family.samples:
            totals[sample.name] += sample.value
    return totals[name]


def test_the_queries_for_analysts_run(settings: Settings) -> None:
    insert(
        settings, [make(1) for make in (stream.trade, stream.quote, stream.book, stream.bar, stream.gap)], "a"
    )
    with connect(settings) as client:
        answers = [
            client.execute(statement)
            for statement in statements((SQL_DIR / "queries" / "clickhouse_examples.sql").read_text())
        ]
    assert len(answers) == 6
    assert answers[3].startswith(b"binance\tBTC-USDT\ttrade\tsequence\t10\t12\t")
