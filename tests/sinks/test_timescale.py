"""The load against a real broker and the real engine: exact values, exactly once."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from etl import settings as settings_module
from etl.embedded.timescale import timescale_part
from etl.errors import RangeLost, StoreError, StoreUnavailable
from etl.model.records import BarState, Correction, CorrectionKind, GapState, SizeUnit, Source
from etl.model.tables import TABLE_BY_KIND
from etl.settings import Settings
from etl.sinks.load import Loaded, load_timescale
from etl.sinks.timescale import Span, TimescaleStore
from etl.stores.migrate import migrate_timescale
from etl.transports.kafka import KafkaPublisher
from etl.transports.kafka_ranges import KafkaRangeReader
from etl.transports.transport import transport_of
from etl.wire.codec import MarketData, decode_quarantined, encode
from etl.wire.columns import COLUMNS, decode
from tests.support import stream, topics
from tests.support.processes import etl_command
from tests.support.stream import DAY, MS, START_NS
from tests.support.topics import eventually

pytestmark = pytest.mark.integration

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(settings_with: MakeSettings) -> Settings:
    """One database for the module: tests keep apart by the name of their exchange."""
    made = settings_with(kafka=True, timescale=True, load_batch_rows_max=100)
    migrate_timescale(made)
    return made


def rows(settings: Settings, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(settings.timescale_address, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        return connection.execute(query, parameters).fetchall()


def has_more(settings: Settings, trades: int) -> bool:
    return count(settings, "trades", "crashed") > trades


def count(settings: Settings, table: str, exchange: str) -> int:
    return rows(settings, f"SELECT count(*) FROM {table} WHERE exchange = %s", exchange)[0][0]


def test_columns_of_every_table_are_the_fields_of_its_record(settings: Settings) -> None:
    made = {"time_ns": "time", "key_time_ns": "key_time"}
    for kind, table in TABLE_BY_KIND.items():
        found = rows(
            settings, "SELECT column_name FROM information_schema.columns WHERE table_name = %s", table
        )
        expected = {made.get(column.name, column.name) for column in COLUMNS[kind]}
        assert {name for (name,) in found} == expected, table


def test_values_arrive_exactly(settings: Settings) -> None:
    event_time_ns = START_NS + 123
    stream.publish(
        settings,
        stream.trade(
            0,
            "exact",
            time_ns=event_time_ns,
            last_price="61837.6300000000000000001",
            volume="123456789012.10",
            conditions=("@", 'a"b', "c,d", "\\", "{}"),
            market_center="NULL",
            trf_id='"',
            tape="\\N",
            previous_sequence=-1,
        ),
    )
    loaded = load_timescale(settings)
    assert loaded == Loaded(messages=1, rows={"trades": 1}, refused=0, days_refreshed=1)
    found = rows(
        settings,
        "SELECT time::text, key_time::text, event_time_ns, receive_time_ns, publish_time_ns, last_price::text,"
        " volume::text, conditions, market_center, trf_id, tape, sequence, previous_sequence, first_sequence,"
        " side::text, size_unit::text, source::text, record_key, flags FROM trades WHERE exchange = 'exact'",
    )
    assert found == [
        (
            "2024-08-08 23:54:15.342+00",
            "2024-08-08 23:54:15.342+00",
            event_time_ns,
            event_time_ns + 1_234_567,
            None,
            "61837.6300000000000000001",
            "123456789012.10",
            ["@", 'a"b', "c,d", "\\", "{}"],
            "NULL",
            '"',
            "\\N",
            3_735_683_259,
            -1,
            None,
            "sell",
            "base",
            "stream",
            "3735683259",
            None,
        )
    ]


def test_a_record_without_event_time_is_placed_by_its_receive_time(settings: Settings) -> None:
    stream.publish(settings, stream.quote(3, "untimed"))
    load_timescale(settings)
    found = rows(
        settings,
        "SELECT time::text, key_time::text, event_time_ns, receive_time_ns, bid, ask_size FROM quotes"
        " WHERE exchange = 'untimed'",
    )
    received = START_NS + 3 * MS + 1
    assert found == [
        (
            "2024-08-08 23:54:15.345+00",
            "2024-08-08 00:00:00+00",
            None,
            received,
            Decimal("61837.63000000"),
            None,
        )
    ]


def test_every_kind_has_a_table_and_books_stay_out_by_default(
    settings: Settings, settings_with: MakeSettings
) -> None:
    records = [
        stream.trade(0, "kinds"),
        stream.quote(0, "kinds"),
        stream.book(0, "kinds"),
        stream.bar(0, "kinds"),
    ]
    stream.publish(settings, *records, stream.gap(0, "kinds"))
    assert load_timescale(settings).rows == {"trades": 1, "quotes": 1, "bars": 1, "gaps": 1}

    with_books = settings_with(kafka=True, timescale=True, load_books=True)
    stream.publish(with_books, stream.book(0, "booked"))
    assert load_timescale(with_books).rows == {"book_updates": 1}
    found = rows(settings, "SELECT bid_prices, bid_sizes, ask_prices, bid_orders FROM book_updates")
    assert found == [
        (
            [Decimal("61837.63000000"), Decimal("61837.62000000")],
            [Decimal("1.00000000"), Decimal("0")],
            [Decimal("61837.64000000")],
            None,
        )
    ]


def test_a_load_run_again_reads_only_what_is_new(settings: Settings) -> None:
    stream.publish(settings, *(stream.trade(n, "again") for n in range(250)))
    assert load_timescale(settings).rows == {"trades": 250}
    assert load_timescale(settings) == Loaded(messages=0, rows={}, refused=0, days_refreshed=0)
    stream.publish(settings, *(stream.trade(n, "again") for n in range(240, 260)))
    assert load_timescale(settings).messages == 20
    assert count(settings, "trades", "again") == 260


def test_the_same_record_many_times_in_one_batch_is_one_row(settings: Settings) -> None:
    stream.publish(settings, *(stream.trade(n % 7, "doubled") for n in range(70)))
    load_timescale(settings)
    assert count(settings, "trades", "doubled") == 7


def test_a_newer_parser_replaces_a_trade_and_an_older_does_not(settings: Settings) -> None:
    for parser_version, price in ((2, "2"), (1, "1"), (2, "2.5"), (3, "3")):
        stream.publish(settings, stream.trade(0, "parsers", parser_version=parser_version, last_price=price))
        load_timescale(settings)
        expected = {1: "2", 2: "2", 3: "3"}[parser_version]
        found = rows(settings, "SELECT last_price::text FROM trades WHERE exchange = 'parsers'")
        assert found == [(expected,)]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_last_state_of_a_bar_wins_in_any_order(settings: Settings, at_once: bool) -> None:
    exchange = f"bars_{at_once}"
    later = START_NS + DAY
    states = [
        stream.bar(0, exchange, bar_state=BarState.CLOSED, close="2"),
        stream.bar(0, exchange, bar_state=BarState.REVISED, close="4", receive_time_ns=later),
        stream.bar(0, exchange, bar_state=BarState.REVISED, close="3"),
        stream.bar(0, exchange, bar_state=BarState.OPEN, close="1", receive_time_ns=later + 9),
    ]
    if at_once:
        stream.publish(settings, *states)
        load_timescale(settings)
    else:
        for state in states:
            stream.publish(settings, state)
            load_timescale(settings)
    found = rows(settings, "SELECT close::text, bar_state::text FROM bars WHERE exchange = %s", exchange)
    assert found == [("4", "revised")]


def test_a_gap_changes_state_with_what_the_repair_noted(settings: Settings) -> None:
    stream.publish(settings, stream.gap(0, "gaps", detected_time_ns=START_NS))
    load_timescale(settings)
    repaired = stream.gap(
        0,
        "gaps",
        gap_state=GapState.REPAIRED,
        receive_time_ns=START_NS + 5 * MS,
        attempts=2,
        repaired_rows=3,
        detected_time_ns=START_NS,
    )
    stream.publish(settings, repaired)
    load_timescale(settings)
    columns = "gap_kind::text, gap_state::text, from_sequence, attempts, repaired_rows, detected_time_ns"
    found = rows(settings, f"SELECT {columns} FROM gaps WHERE exchange = %s", "gaps")
    assert found == [("sequence", "repaired", 10, 2, 3, START_NS)]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e5", "0x1F", "1,2", "", " 1", "-", "1.2.3"])
def test_a_value_that_is_no_decimal_is_quarantined_and_its_neighbours_stored(
    settings: Settings, value: str
) -> None:
    exchange = f"refused {value}"
    trades = [stream.trade(n, exchange, last_price=value if n == 5 and value else "1.5") for n in range(9)]
    stream.publish(settings, *trades)
    loaded = load_timescale(settings)
    assert loaded.refused == (1 if value else 0)
    stored = rows(settings, "SELECT record_key FROM trades WHERE exchange = %s ORDER BY 1", exchange)
    assert [key for (key,) in stored] == [t.record_key for n, t in enumerate(trades) if n != 5 or not value]
    if value:
        (item,) = quarantined(settings)
        assert (item.code, item.exchange, item.rule) == ("decimal_malformed", exchange, "decimal_fits")
        assert item.record == encode(trades[5])


def test_text_that_postgres_cannot_hold_and_bytes_that_are_no_message_are_quarantined(
    settings: Settings,
) -> None:
    good = stream.trade(1, "odd")
    # one of them twice, as after a worker's death
    stream.publish(settings, stream.trade(0, "odd", trade_id="a\x00b"), good, good)
    stream.publish_values(settings, ("odd", "BTC-USDT", b"\xff\xff\xff"), ("odd", "BTC-USDT", b"\x08\x63"))
    assert load_timescale(settings).refused == 3
    assert count(settings, "trades", "odd") == 1
    assert len(quarantined(settings)) == 3


def quarantined(settings: Settings) -> list[Any]:

    with transport_of(settings).reader(settings.topics.quarantine, "test") as reader:
        return [
            decode_quarantined(message.value or b"")
            for partition, bounds in reader.bounds().items()
            for messages in reader.read(partition, bounds.low, bounds.high, 1_000)
            for message in messages
        ]


def test_a_load_killed_before_its_commit_stores_nothing_and_the_retry_everything_once(
    settings: Settings,
) -> None:
    stream.publish(settings, *(stream.trade(n, "killed") for n in range(350)))
    died = run_load(settings, crash_point="before_timescale_commit")
    assert died.returncode == -9
    assert count(settings, "trades", "killed") == 0
    assert load_timescale(settings).messages == 350
    assert count(settings, "trades", "killed") == 350


def run_load(settings: Settings, crash_point: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        load_command(crash_point),
        env=environment_of(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def load_command(crash_point: str = "") -> list[str]:
    return etl_command("load", "timescale", "--json", crash_point=crash_point)


def environment_of(settings: Settings) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", **settings_module.as_environment(settings)}


def test_of_a_zombie_and_its_retry_one_wins(settings: Settings) -> None:
    batch, _ = decode([(n, encode(stream.trade(n, "zombie"))) for n in range(10)])
    span = Span("zombie-topic", 0, 0, 10)
    with TimescaleStore(settings) as zombie, TimescaleStore(settings) as retry:
        for store in (zombie, retry):
            assert store.next_offset(span.topic_id, "zombie", 0, 0) == 0
        retry.write(batch, span)
        with pytest.raises(StoreError, match="the offset is no longer 0"):
            zombie.write(batch, span)
    assert count(settings, "trades", "zombie") == 10


def test_late_rows_reach_a_compressed_chunk_and_equal_ones_are_not_doubled(settings: Settings) -> None:
    trades = [stream.trade(2 * n, "late") for n in range(120)]
    stream.publish(settings, *trades)
    load_timescale(settings)
    rows(settings, "SELECT compress_chunk(c, true)::text FROM show_chunks('trades') c")
    late = [stream.trade(2 * n + 1, "late") for n in range(120)]
    stream.publish(settings, *late, *trades[::3], stream.trade(0, "late", parser_version=2, last_price="7"))
    load_timescale(settings)
    found = rows(settings, "SELECT record_key, last_price FROM trades WHERE exchange = 'late' ORDER BY 1")
    expected = {t.record_key: Decimal(t.last_price or "") for t in (*trades, *late)}
    expected[trades[0].record_key] = Decimal(7)
    assert found == sorted(expected.items())


def test_candles_are_exact_and_follow_late_trades(settings: Settings) -> None:
    base = START_NS // DAY * DAY + 3_600_000 * MS
    prices = ["10.5", "12.25", "9.75", "11"]
    for number, price in enumerate(prices):
        stream.publish(
            settings, stream.trade(number, "candles", time_ns=base, last_price=price, volume="0.1")
        )
    load_timescale(settings)
    query = "SELECT open, high, low, close, volume, turnover, trades FROM {} WHERE exchange = 'candles'"
    expected = tuple(map(Decimal, ("10.5", "12.25", "9.75", "11", "0.4", "4.35", "4")))
    for view in ("ohlcv_1m", "ohlcv_1h", "ohlcv_1d"):
        assert rows(settings, query.format(view)) == [expected], view
    stream.publish(
        settings,
        stream.trade(9, "candles", time_ns=base + MS, last_price="20", volume="1"),
        stream.trade(8, "candles", time_ns=base + 1, last_price="1", volume="1"),
    )
    load_timescale(settings)
    expected = tuple(map(Decimal, ("10.5", "20", "1", "20", "2.4", "25.35", "6")))
    for view in ("ohlcv_1m", "ohlcv_1h", "ohlcv_1d"):
        assert rows(settings, query.format(view)) == [expected], view


def test_the_seed_schema_is_a_view(settings: Settings) -> None:
    stream.publish(settings, stream.trade(0, "seed"), stream.quote(0, "seed", size_unit=SizeUnit.BASE))
    load_timescale(settings)
    found = rows(
        settings, "SELECT symbol, bid, ask, last, volume, provider FROM ticks WHERE provider = 'seed'"
    )
    assert sorted(found, key=str) == [
        ("BTC-USDT", Decimal("61837.63"), Decimal("61837.64"), None, None, "seed"),
        ("BTC-USDT", None, None, Decimal("61837.00"), Decimal("0.02"), "seed"),
    ]


def test_voided_trades_leave_the_corrected_view_and_a_replacement_takes_their_place(
    settings: Settings,
) -> None:
    trades = [
        stream.trade(n, "alpaca", record_key=f"2024-08-08/V/{n}", trade_id=str(n), last_price=str(n + 1))
        for n in range(4)
    ]
    day_ns = START_NS // DAY * DAY
    voids = [
        Correction(
            "alpaca", "BTC-USDT", "BTCUSDT", channel, START_NS, START_NS, Source.STREAM, "c", n, 0,
            f"2024-08-08/V/{n}/{correction.name.lower()}", day_ns, 1, original_trade_id=str(n),
            correction=correction, last_price=price,
        )
        for n, correction, price, channel in (
            (1, CorrectionKind.CANCEL, None, "cancelErrors"),
            (2, CorrectionKind.CORRECT, "30.5", "corrections"),
        )
    ]  # fmt: skip
    stream.publish(settings, *trades, *voids)
    load_timescale(settings)
    found = rows(
        settings,
        "SELECT last_price, corrected FROM trades_corrected WHERE exchange = 'alpaca' ORDER BY last_price",
    )
    assert found == [(Decimal(1), False), (Decimal(4), False), (Decimal("30.5"), True)]


def test_retention_policies_exist_and_are_off(settings: Settings) -> None:
    found = rows(
        settings,
        "SELECT hypertable_name, scheduled FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'",
    )
    assert {table for table, _ in found} == {"trades", "agg_trades", "quotes", "book_updates", "stats"}
    assert not any(scheduled for _, scheduled in found)


def test_a_store_that_is_down_says_so(settings_with: MakeSettings) -> None:
    settings = settings_with(kafka=True, timescale_url="postgresql://postgres:secret@127.0.0.1:1/postgres")
    stream.publish(settings, stream.trade(0))
    with pytest.raises(StoreUnavailable, match=r"127.0.0.1:1/postgres") as raised:
        load_timescale(settings)
    assert "secret" not in str(raised.value)


def test_the_command_prints_what_it_did(settings: Settings) -> None:
    stream.publish(settings, stream.trade(0, "command"))
    done = run_load(settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == '{"messages":1,"rows":{"trades":1},"refused":0,"days_refreshed":1}\n'


def test_a_server_killed_in_the_middle_of_a_load_ends_with_every_row_once(
    settings_with: MakeSettings, crashable: Callable[..., Any]
) -> None:
    server = crashable(timescale_part)
    settings = settings_with(
        kafka=True, timescale_url=server.settings.timescale_address, load_batch_rows_max=50
    )
    migrate_timescale(settings)
    stream.publish(settings, *(stream.trade(n, "crashed") for n in range(2_000)))
    for _ in range(3):
        before = count(settings, "trades", "crashed")
        load = subprocess.Popen(load_command(), env=environment_of(settings), stderr=subprocess.PIPE)
        eventually(functools.partial(has_more, settings, before))
        server.kill()
        _, stderr = load.communicate(timeout=60)
        assert load.returncode in (0, 1), stderr
        server.start()
    load_timescale(settings)
    found = rows(
        settings, "SELECT count(*), count(DISTINCT record_key) FROM trades WHERE exchange = 'crashed'"
    )
    assert found == [(2_000, 2_000)]


def test_what_retention_took_before_a_load_is_declared_and_the_rest_is_loaded(
    settings_with: MakeSettings,
) -> None:
    settings = settings_with(kafka=True, timescale=True, topic_partitions=1)
    migrate_timescale(settings)
    stream.publish(settings, *(stream.trade(n, "overtaken") for n in range(10)))
    load_timescale(settings)
    stream.publish(settings, *(stream.trade(n, "overtaken") for n in range(10, 100)))
    topics.delete_before(settings, settings.topics.normalized, 0, 40)
    assert load_timescale(settings).messages == 60
    assert load_timescale(settings).messages == 1  # the gap
    assert count(settings, "trades", "overtaken") == 70
    found = "SELECT from_sequence, to_sequence FROM gaps WHERE exchange = '*' AND channel = %s"
    assert rows(settings, found, f"{settings.topics.normalized}-0") == [(10, 39)]


def test_no_message_stops_a_load_and_each_is_quarantined_once(settings_with: MakeSettings) -> None:
    settings = settings_with(kafka=True, timescale=True, topic_partitions=1)
    migrate_timescale(settings)
    foreign: Any = MarketData.FromString(encode(stream.trade(1, "foreign")))
    foreign.source = 99
    negative: Any = MarketData.FromString(encode(stream.trade(2, "foreign")))
    negative.side = -1
    large = b"\xff" * (settings.producer.message_bytes_max - 200)
    values = [bytes(foreign.SerializeToString()), bytes(negative.SerializeToString()), large]
    stream.publish_values(settings, *[("foreign", "BTC-USDT", value) for value in values])
    publisher = KafkaPublisher(settings)
    publisher.publish(settings.topics.normalized, b"foreign:BTC-USDT", None)
    publisher.flush(30.0)
    stream.publish(settings, stream.trade(3, "foreign"))
    loaded = load_timescale(settings)
    assert (loaded.messages, loaded.rows, loaded.refused) == (5, {"trades": 1}, 4)
    found = topics.quarantined(settings)
    assert sorted(item.record for item in found) == sorted([*values[:2], b"", b""])
    assert len({(item.connection_id, item.frame_sequence) for item in found}) == 4
    assert load_timescale(settings).messages == 0


def test_a_topic_that_lost_its_end_stops_a_load_and_the_next_begins_it_anew(
    settings_with: MakeSettings,
) -> None:
    settings = settings_with(kafka=True, timescale=True, topic_partitions=1)
    migrate_timescale(settings)
    stream.publish(settings, *(stream.trade(n, "shorter") for n in range(50)))
    load_timescale(settings)
    with transport_of(settings).reader(settings.topics.normalized, "tests") as reader:
        topic_id = reader.topic_id()
    with psycopg.connect(settings.timescale_address, autocommit=True) as connection:
        connection.execute("UPDATE load_offsets SET next = 100 WHERE topic_id = %s", [topic_id])
    with pytest.raises(RangeLost, match="ends at 50 and had 100"):
        load_timescale(settings)
    stream.publish(settings, *(stream.trade(n, "shorter") for n in range(50, 110)))
    load_timescale(settings)
    assert count(settings, "trades", "shorter") == 110
    found = "SELECT from_sequence, to_sequence FROM gaps WHERE exchange = '*' AND channel = %s"
    assert rows(settings, found, f"{settings.topics.normalized}-0") == [(50, 99)]


def test_retention_that_overtakes_a_running_load_is_declared_and_passed_over(
    settings_with: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_with(kafka=True, timescale=True, topic_partitions=1)
    migrate_timescale(settings)
    stream.publish(settings, *(stream.trade(n, "running") for n in range(100)))
    required = KafkaRangeReader._require

    def then_retention(reader: KafkaRangeReader, partition: int, start: int, end: int) -> None:
        """Between the look at what the topic has and the first fetch."""
        required(reader, partition, start, end)
        topics.delete_before(settings, settings.topics.normalized, 0, 40)

    monkeypatch.setattr(KafkaRangeReader, "_require", then_retention)
    assert load_timescale(settings).messages == 60
    monkeypatch.undo()
    load_timescale(settings)
    assert count(settings, "trades", "running") == 60
    found = "SELECT from_sequence, to_sequence FROM gaps WHERE exchange = '*' AND channel = %s"
    assert rows(settings, found, f"{settings.topics.normalized}-0") == [(0, 39)]
