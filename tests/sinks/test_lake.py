"""The export against a real broker: exact values for every reader, the same range the same bytes, nothing half done."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from etl import settings as settings_module
from etl.errors import RangeLost
from etl.lake import Lake, raw_frames
from etl.lake.catalog import Catalog
from etl.lake.compaction import compact
from etl.lake.exports import ExportLog
from etl.lake.query import connect
from etl.lake.report import history
from etl.lake.storage import open_storage
from etl.model.records import BarState, Frame, Source
from etl.settings import Settings
from etl.sinks.export import Exported, archive, export
from etl.transports.frame_headers import frame_headers
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.transports.transport import transport_of
from etl.wire.codec import MarketData, decode_quarantined, encode
from tests.support import stream, topics
from tests.support.processes import etl_command
from tests.support.stream import DAY, MS, START_NS

pytestmark = pytest.mark.integration

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(settings_with: MakeSettings) -> Settings:
    return settings_with(kafka=True, topic_partitions=1)


def query(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with connect(settings) as connection:
        return connection.execute(sql).fetchall()


def files(settings: Settings) -> dict[str, str]:
    """Every file of the lake's data folder and the hash of its bytes."""
    root = Path(settings.lake_path)
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((root / "tables").rglob("exchange=*/**/*"))
        if path.is_file()
    }


def test_files_lie_by_table_exchange_and_date(settings: Settings) -> None:
    odd = stream.trade(1, "kraken", symbol="XBT/USD")
    next_day = stream.trade(2, time_ns=START_NS + DAY)
    stream.publish(settings, stream.trade(0), odd, next_day, stream.quote(0), stream.book(0))
    exported = export(settings)
    assert (exported.messages, exported.files) == (5, 5)
    assert exported.rows == {"trades": 3, "quotes": 1, "book_updates": 1}
    assert list(files(settings)) == [
        "tables/book_updates/exchange=binance/date=2024-08-08/0-0-5.parquet",
        "tables/quotes/exchange=binance/date=2024-08-08/0-0-5.parquet",
        "tables/trades/exchange=binance/date=2024-08-08/0-0-5.parquet",
        "tables/trades/exchange=binance/date=2024-08-09/0-0-5.parquet",
        "tables/trades/exchange=kraken/date=2024-08-08/0-0-5.parquet",
    ]
    assert query(settings, "SELECT symbol FROM trades WHERE exchange = 'kraken'") == [("XBT/USD",)]


def test_every_reader_finds_the_exact_values(settings: Settings) -> None:
    import deltalake
    import polars

    first = stream.trade(0, time_ns=START_NS, last_price="0.00000001", trade_id="7")
    second = stream.trade(
        1, time_ns=START_NS + 1, last_price="9999999999.12345678", trade_id="", conditions=("@", "T")
    )
    stream.publish(settings, second, first)
    export(settings)
    place = f"{settings.lake_path}/tables/trades"
    expected = [
        (START_NS, Decimal("0.00000001"), Decimal("0.02"), "7", None),
        (START_NS + 1, Decimal("9999999999.12345678"), Decimal("0.02"), None, ["@", "T"]),
    ]
    names = ["event_time_ns", "last_price", "volume", "trade_id", "conditions"]
    assert query(settings, f"SELECT {', '.join(names)} FROM trades ORDER BY event_time_ns") == expected
    table = deltalake.DeltaTable(place)
    arrow = table.to_pyarrow_dataset().to_table(columns=names).to_pylist()
    assert [tuple(row.values()) for row in arrow] == expected
    assert polars.read_delta(place).select(names).rows() == expected
    frame = table.to_pandas()
    assert list(frame["event_time_ns"]) == [START_NS, START_NS + 1]
    assert list(frame["last_price"]) == [row[1] for row in expected]
    assert list(frame["exchange"]) == ["binance", "binance"]
    assert str(frame["time"][0]) == "2024-08-08 23:54:15.342000+00:00"


def test_values_of_38_digits_are_exact_in_the_views_and_beyond_their_column_in_the_files(
    settings: Settings,
) -> None:
    import polars

    wide, traded = "1234567890123.1234567890123456789", "12.1234567890123456789"
    levels = ("0.0000000000000000001", "2")
    stream.publish(
        settings,
        stream.trade(0, last_price=wide),
        stream.trade(1),
        stream.book(0, ask_prices=levels, ask_sizes=("1", "1")),
    )
    stream.publish(settings, stream.bar(0, quote_volume=traded))
    export(settings)
    assert query(settings, "SELECT last_price, volume FROM trades ORDER BY time") == [
        (Decimal(wide), Decimal("0.02")),
        (Decimal("61838.01"), Decimal("0.02")),
    ]
    assert query(settings, "SELECT ask_prices, bid_prices FROM book_updates") == [
        ([Decimal(levels[0]), Decimal(2)], [Decimal("61837.63"), Decimal("61837.62")])
    ]
    assert query(settings, "SELECT quote_volume FROM bars") == [(Decimal(traded),)]
    frame = polars.read_delta(f"{settings.lake_path}/tables/trades")
    assert frame["last_price"].to_list() == [None, Decimal("61838.01")]
    assert frame["wide_decimals"].to_list() == [{"last_price": wide}, None]


def test_a_view_has_the_digits_that_its_widest_decimals_need_and_what_finds_no_room_stands_in_wide_decimals(
    settings: Settings,
) -> None:
    price, size = "1234.0000000000000000000000123", "12345678901.123456789"
    levels, traded = ("1.5", "0.0000000000000000000000123"), "12.1234567890123456789012345"
    widest = "0." + "1" * 30
    records = [
        stream.trade(0, last_price=price, volume=size),
        stream.trade(1, last_price="9999999999.5"),
        stream.book(0, ask_prices=levels, ask_sizes=("1", "1")),
        stream.bar(0, quote_volume=traded),
        stream.quote(0, bid=widest, ask="2"),
    ]
    stream.publish(settings, *records)
    export(settings)
    exact = [(Decimal(price), Decimal(size)), (Decimal("9999999999.5"), Decimal("0.02"))]
    assert query(settings, "SELECT last_price, volume FROM trades ORDER BY time") == exact
    assert query(settings, "SELECT ask_prices FROM book_updates") == [([*map(Decimal, levels)],)]
    assert query(settings, "SELECT quote_volume, wide_decimals FROM bars") == [
        (None, {"quote_volume": traded})
    ]
    assert query(settings, "SELECT bid, ask, wide_decimals FROM quotes") == [
        (None, Decimal(2), {"bid": widest})
    ]
    stream.publish(settings, stream.trade(2, last_price="7"))
    export(settings)
    compact(settings, START_NS)
    exact.append((Decimal(7), Decimal("0.02")))
    assert query(settings, "SELECT last_price, volume FROM trades ORDER BY time") == exact


def test_a_price_times_a_size_is_exact_and_does_not_overflow(settings: Settings) -> None:
    stream.publish(settings, stream.trade(0, last_price="123456.12345678", volume="1000000.00000001"))
    export(settings)
    found = query(settings, "SELECT last_price * volume FROM trades")
    assert found == [(Decimal("123456.12345678") * Decimal("1000000.00000001"),)]


def test_rows_of_a_file_are_sorted_by_symbol_time_and_key_whatever_their_order(settings: Settings) -> None:
    numbers = [(n * 37) % 50 for n in range(50)]
    stream.publish(settings, *(stream.trade(n, symbol="ETH-USDT" if n % 2 else "BTC-USDT") for n in numbers))
    export(settings)
    (path,) = files(settings)
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(f"{settings.lake_path}/{path}", partitioning=None)
    by_symbol = [*range(0, 50, 2), *range(1, 50, 2)]
    assert rows["record_key"].to_pylist() == [stream.trade(n).record_key for n in by_symbol]
    assert rows["symbol"].to_pylist() == ["BTC-USDT"] * 25 + ["ETH-USDT"] * 25


def test_the_same_range_gives_the_same_bytes(settings: Settings, settings_with: MakeSettings) -> None:
    records = [stream.trade(n) for n in range(300)] + [stream.quote(n) for n in range(300)]
    stream.publish(settings, *records, stream.bar(0), stream.gap(0), stream.book(0))
    export(settings)
    again = settings_with(
        kafka=True, normalized_topic=settings.topics.normalized, lake_url=settings.lake_path + "-again"
    )
    export(again)
    assert files(settings) == files(again)


def test_an_export_run_again_writes_only_what_is_new(settings: Settings) -> None:
    stream.publish(settings, *(stream.trade(n) for n in range(10)))
    export(settings)
    before = files(settings)
    assert export(settings) == Exported(messages=0, rows={}, files=0, bytes=0, refused=0)
    stream.publish(settings, *(stream.trade(n) for n in range(10, 15)))
    assert export(settings).rows == {"trades": 5}
    after = files(settings)
    assert before.items() <= after.items()
    assert len(after) == 2


def test_a_large_backlog_is_cut_into_ranges(settings_with: MakeSettings) -> None:
    settings = settings_with(kafka=True, topic_partitions=1, lake_range_messages_max=40)
    stream.publish(settings, *(stream.trade(n) for n in range(100)))
    assert export(settings).files == 3
    assert [path.rpartition("/")[2] for path in files(settings)] == [
        "0-0-40.parquet",
        "0-40-80.parquet",
        "0-80-100.parquet",
    ]


def test_an_export_killed_between_file_and_catalog_shows_nothing_and_its_retry_writes_the_same_bytes(
    settings: Settings,
) -> None:
    stream.publish(settings, *(stream.trade(n) for n in range(30)))
    assert run_export(settings, crash_point="between_lake_file_and_catalog").returncode == -9
    left_behind = files(settings)
    assert len(left_behind) == 1
    assert query(settings, "SELECT count(*) FROM trades") == [(0,)]
    # the topic has grown meanwhile: the planned boundary holds all the same
    stream.publish(settings, *(stream.trade(n) for n in range(30, 45)))
    assert export(settings).messages == 45
    assert left_behind.items() <= files(settings).items()
    assert query(settings, "SELECT count(*), count(DISTINCT record_key) FROM trades") == [(45, 45)]


def test_an_export_killed_between_the_commits_of_two_tables_is_in_each_once(settings: Settings) -> None:
    first = [stream.trade(n) for n in range(30)] + [stream.quote(n) for n in range(30)] + [stream.book(0)]
    stream.publish(settings, *first)
    assert run_export(settings, crash_point="between_lake_commits").returncode == -9
    assert query(settings, "SELECT count(*) FROM book_updates") == [(1,)]
    assert query(settings, "SELECT count(*) FROM trades") == [(0,)]
    stream.publish(settings, stream.trade(30), stream.quote(30), stream.book(1))
    assert export(settings).rows == {"trades": 31, "quotes": 31, "book_updates": 1}
    state = Catalog(open_storage(settings)).read()
    rows = {
        table: sum(file.rows for file in state.of(table)) for table in ("trades", "quotes", "book_updates")
    }
    assert rows == {"trades": 31, "quotes": 31, "book_updates": 2}  # in the files, before any view
    assert export(settings).messages == 0


def test_a_plan_of_which_a_table_has_a_part_may_be_cut_and_no_row_is_there_twice(settings: Settings) -> None:
    stream.publish(settings, *(record for n in range(50) for record in (stream.book(n), stream.trade(n))))
    assert run_export(settings, crash_point="between_lake_commits").returncode == -9
    topics.delete_before(settings, settings.topics.normalized, 0, 40)
    assert export(settings).rows == {"trades": 30}
    state = Catalog(open_storage(settings)).read()
    assert [sum(file.rows for file in state.of(table)) for table in ("book_updates", "trades")] == [50, 30]


def run_export(settings: Settings, crash_point: str = "") -> subprocess.CompletedProcess[str]:
    environment = settings_module.as_environment(settings)
    return subprocess.run(
        etl_command("export", "--json", crash_point=crash_point),
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_file_that_the_catalog_does_not_name_does_not_exist(settings: Settings) -> None:
    stream.publish(settings, stream.trade(0))
    export(settings)
    (path,) = files(settings)
    stray = Path(settings.lake_path, path).with_name("0-7-8.parquet")
    stray.write_bytes(Path(settings.lake_path, path).read_bytes())
    assert query(settings, "SELECT count(*) FROM trades") == [(1,)]


def test_equal_identities_in_one_file_and_in_several_show_as_one_row(settings: Settings) -> None:
    stream.publish(settings, stream.trade(0), stream.trade(0), stream.trade(1))
    export(settings)
    stream.publish(settings, stream.trade(0, receive_time_ns=START_NS + 9), stream.trade(1, parser_version=2))
    export(settings)
    found = query(settings, "SELECT record_key, receive_time_ns, parser_version FROM trades ORDER BY 1")
    first, second = stream.trade(0), stream.trade(1)
    assert found == [
        (first.record_key, first.receive_time_ns, 1),
        (second.record_key, second.receive_time_ns, 2),
    ]


def test_the_last_state_of_a_bar_is_shown(settings: Settings) -> None:
    for state, close in ((BarState.OPEN, "1"), (BarState.REVISED, "3"), (BarState.CLOSED, "2")):
        stream.publish(settings, stream.bar(0, bar_state=state, close=close))
        export(settings)
    assert query(settings, "SELECT close, bar_state FROM bars") == [(Decimal(3), "revised")]


@pytest.mark.parametrize("value", ["NaN", "1e5", "1." + "0" * 30 + "1", "12345678901234567890"])
def test_a_value_that_the_type_cannot_hold_is_quarantined_not_rounded(settings: Settings, value: str) -> None:
    trades = [stream.trade(n, last_price=value if n == 5 else "1.5") for n in range(9)]
    stream.publish(settings, *trades, stream.book(0, bid_prices=(value, "1")))
    exported = export(settings)
    assert (exported.refused, exported.rows) == (2, {"trades": 8})
    items = quarantined(settings)
    code = "decimal_overflow" if value.replace(".", "").isdigit() else "decimal_malformed"
    assert [(item.code, item.rule) for item in items] == [(code, "decimal_fits")] * 2
    assert items[0].record == encode(trades[5])


def quarantined(settings: Settings) -> list[Any]:

    with transport_of(settings).reader(settings.topics.quarantine, "test") as reader:
        return [
            decode_quarantined(message.value or b"")
            for partition, bounds in reader.bounds().items()
            for messages in reader.read(partition, bounds.low, bounds.high, 1_000)
            for message in messages
        ]


def test_a_topic_made_anew_does_not_overwrite_the_files_of_the_old(settings: Settings) -> None:
    from etl.transports import kafka_clients

    stream.publish(settings, stream.trade(0))
    export(settings)
    before = files(settings)
    admin = kafka_clients.admin(settings)
    admin.delete_topics([settings.topics.normalized])[settings.topics.normalized].result(timeout=30)
    stream.publish(settings, stream.trade(1, time_ns=START_NS + MS))
    export(settings)
    assert before.items() <= files(settings).items()
    assert query(settings, "SELECT count(*) FROM trades") == [(2,)]


def test_the_tables_know_rows_times_bytes_and_offsets(settings: Settings) -> None:
    stream.publish(settings, *(stream.trade(n) for n in range(3)))
    export(settings)
    state = Catalog(open_storage(settings)).read()
    (file,) = state.files.values()
    path = Path(settings.lake_path, file.path)
    assert (file.table, file.exchange, file.date) == ("trades", "binance", "2024-08-08")
    assert (file.symbol_min, file.symbol_max) == ("BTC-USDT", "BTC-USDT")
    assert (file.rows, file.bytes) == (3, path.stat().st_size)
    assert (file.time_ns_min, file.time_ns_max) == (START_NS, START_NS + 2 * MS)
    assert (file.partition, file.start, file.end) == (0, 0, 3)
    assert list(state.exports.offsets.values()) == [{0: 3}]
    assert list(state.exports.planned.values()) == [()]
    (topic_id,) = state.exports.topics
    assert state.done("trades", f"{topic_id}/0") == 3
    until_ns = state.exports.until_ns[topic_id]
    assert until_ns > path.stat().st_mtime_ns - 60_000_000_000
    # an older version knows up to when it is complete: what was told before it
    stream.publish(settings, stream.trade(3))
    export(settings)
    lake = Lake(settings)
    assert lake.complete_until_ns == lake.trades().complete_until_ns
    assert (lake.complete_until_ns or 0) > until_ns
    assert lake.trades(version=0).complete_until_ns is None
    assert lake.trades(version=1).complete_until_ns == until_ns
    assert [change.progress for change in history(open_storage(settings), "trades")] == [
        {f"{topic_id}/0": 3},
        {f"{topic_id}/0": 4},
    ]


def test_an_empty_lake_has_every_table_without_rows(settings: Settings) -> None:
    assert query(settings, "SELECT count(*) FROM trades") == [(0,)]
    assert query(settings, "SELECT count(*) FROM liquidations") == [(0,)]


def test_the_raw_topic_is_archived_byte_for_byte_and_read_back(settings: Settings) -> None:
    frames = [
        Frame("binance", "c1", 1, "wss://x", START_NS, b'{"a":1}', Source.STREAM),
        Frame("binance", "c1", 2, "wss://x", START_NS + DAY, bytes(range(256)), Source.STREAM),
        Frame("kraken", "c2", 1, "/0/public/Trades?since=1", START_NS, b"", Source.BACKFILL),
    ]
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    for frame in frames:
        publisher.publish(
            settings.topics.raw, frame.connection_id.encode(), frame.payload, frame_headers(frame)
        )
    publisher.publish(settings.topics.raw, b"?", b"no headers at all")
    publisher.flush(30.0)
    stream.publish(settings, stream.trade(0))
    assert export(settings).files == 1
    archived = archive(settings)
    assert (archived.messages, archived.rows, archived.files) == (4, {"raw": 4}, 4)
    assert archive(settings).messages == 0
    assert [path.rpartition("/")[0] for path in files(settings)][:3] == [
        "tables/raw/exchange=binance/date=2024-08-08",
        "tables/raw/exchange=binance/date=2024-08-09",
        "tables/raw/exchange=kraken/date=2024-08-08",
    ]
    everything = 1 << 62
    assert list(raw_frames.frames(settings, "binance", 0, everything)) == frames[:2]
    assert list(raw_frames.frames(settings, "kraken", 0, everything)) == frames[2:]
    assert list(raw_frames.frames(settings, "binance", 0, START_NS + 1)) == frames[:1]
    assert query(settings, "SELECT payload FROM raw WHERE exchange = 'unreadable'") == [
        (b"no headers at all",)
    ]
    assert query(settings, "SELECT count(*) FROM trades") == [(1,)]


def test_a_plan_of_a_dead_export_that_retention_has_cut_is_made_anew(settings: Settings) -> None:
    stream.publish(settings, *(stream.trade(n) for n in range(100)))
    assert run_export(settings, crash_point="between_lake_file_and_catalog").returncode == -9
    topics.delete_before(settings, settings.topics.normalized, 0, 40)
    assert export(settings).messages == 60
    assert query(settings, "SELECT count(*), count(DISTINCT trade_id) FROM trades") == [(60, 60)]
    assert export(settings).messages == 1  # the gap
    assert query(settings, "SELECT exchange, from_sequence, to_sequence FROM gaps") == [("*", 0, 39)]


def test_no_message_stops_an_export_and_each_is_quarantined_once(settings: Settings) -> None:
    foreign: Any = MarketData.FromString(encode(stream.trade(1)))
    foreign.source = 99
    ideographs = encode(stream.trade(2, "币" * 28))
    values = [bytes(foreign.SerializeToString()), ideographs]
    stream.publish_values(settings, *[("binance", "BTC-USDT", value) for value in values])
    publisher = KafkaPublisher(settings)
    publisher.publish(settings.topics.normalized, b"binance:BTC-USDT", None)
    publisher.flush(30.0)
    stream.publish(settings, stream.trade(3), stream.trade(4, symbol="币" * 280))
    exported = export(settings)
    assert (exported.messages, exported.rows, exported.refused) == (5, {"trades": 2}, 3)
    assert query(settings, "SELECT symbol FROM trades ORDER BY 1") == [("BTC-USDT",), ("币" * 280,)]
    assert sorted(item.record for item in topics.quarantined(settings)) == sorted([*values, b""])
    assert export(settings).messages == 0


def test_frames_whose_headers_are_out_of_range_are_kept_as_unreadable(settings: Settings) -> None:
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    good = Frame("binance", "c1", 1, "wss://x", START_NS, b"{}", Source.STREAM)
    for name, odd in (("receive_time_ns", 1 << 63), ("frame_sequence", 1 << 70), ("frame_sequence", -1)):
        headers = {**frame_headers(good), name: str(odd).encode()}
        publisher.publish(settings.topics.raw, b"c1", f"{name} {odd}".encode(), headers)
    publisher.publish(settings.topics.raw, b"c1", b"long", {**frame_headers(good), "exchange": b"x" * 300})
    publisher.publish(settings.topics.raw, b"c1", b"{}", frame_headers(good))
    publisher.flush(30.0)
    archived = archive(settings)
    assert (archived.messages, archived.rows, archived.refused) == (5, {"raw": 5}, 4)
    assert list(raw_frames.frames(settings, "binance", 0, 1 << 62)) == [good]
    assert query(settings, "SELECT count(*) FROM raw WHERE exchange = 'unreadable'") == [(4,)]
    assert {item.code for item in topics.quarantined(settings)} == {"undecodable"}
    assert archive(settings).messages == 0


def test_a_topic_that_lost_its_end_stops_an_export_and_the_next_begins_it_anew(settings: Settings) -> None:
    stream.publish(settings, *(stream.trade(n) for n in range(50)))
    export(settings)
    log = ExportLog(open_storage(settings))
    state = log.read()
    (topic_id,) = state.topics
    log.commit(state, settings.topics.normalized, topic_id, offsets={0: 100})
    before = files(settings)
    with pytest.raises(RangeLost, match="ends at 50 and had 100"):
        export(settings)
    stream.publish(settings, *(stream.trade(n) for n in range(50, 110)))
    assert export(settings).messages == 111
    assert export(settings).messages == 0
    assert query(settings, "SELECT count(*), count(DISTINCT trade_id) FROM trades") == [(110, 110)]
    assert query(settings, "SELECT from_sequence, to_sequence FROM gaps") == [(50, 99)]
    assert set(before) < set(files(settings))
