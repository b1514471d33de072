"""What a producer may send is taken by every store or by none, and what is taken is the same in all of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from etl.exchanges import load
from etl.model.decimals import FITS
from etl.model.records import Frame, Quote, Record, Stats, Trade
from etl.model.times import NS_PER_S
from etl.settings import Settings, changed
from etl.simulator.session import SyntheticSession
from etl.simulator.venues import make_venue
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.stores.migrate import SQL_DIR, migrate_clickhouse, migrate_timescale
from etl.stores.query import query
from etl.wire import codec
from etl.wire.columns import COLUMNS, Form
from tests.support import stream, topics
from tests.support.clickhouse_sink import drain, with_topics

pytestmark = pytest.mark.integration

STORES = ("clickhouse", "timescale", "lake")
GOOD = ["0.5", "-0", "007", "1.5", "0.0000000000000000001", "12345678.1234567890123456789", "1." + "0" * 40]
GOOD += [
    "0" * 60 + "1.1",
    "00000000000000000000000.10",
    "12345678.1234567890123456789012345",
    "0." + "3" * 30,
]
"""A rule says what an index may be; these are none of its cases."""
BAD = [
    "",
    " ",
    "NaN",
    "nan",
    "-NaN",
    "Infinity",
    "inf",
    "-inf",
    "1e400",
    "1e5",
    "1E-3",
    "0x1F",
    "0x1p3",
    "1_000",
    "+1",
]
BAD += [
    " 1",
    "1 ",
    "1\n",
    "\t1",
    "1 2",
    "1,5",
    "1,234.5",
    ".5",
    "5.",
    ".",
    "-",
    "--1",
    "1-",
    "-.5",
    "1.2.3",
    "1.5f",
    "½",
]
BAD += ["٦١", "１", "null", "1" * 20, "0." + "1" * 31, "1\0", "''", "0b1", "1/2", "$1"]
UNKNOWN = [-1, -2, -128, 99, 127, 128, 256, 257, 258, 300, 32_767, 65_537, 65_538, 2**31 - 1, -(2**31)]


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    made = with_topics(settings_with(kafka=True, clickhouse=True, timescale=True), topic_partitions=1)
    migrate_clickhouse(made)
    migrate_timescale(made)
    # the module's one database: what a test finds is its own
    with psycopg.connect(made.timescale_address) as connection:
        connection.execute("TRUNCATE trades, quotes, bars, gaps, stats, book_updates")
    return changed(made, sink_rejected_max=5_000, load_books=True)


def random_texts(count: int) -> list[str]:
    chance = random.Random(7)
    return ["".join(chance.choices("0123456789.-+e _NaInf\n", k=chance.randint(1, 6))) for _ in range(count)]


def stored(settings: Settings, columns: str, table: str) -> dict[str, list[tuple[Any, ...]]]:
    sql = f"SELECT {columns} FROM {table} ORDER BY 1"
    return {store: [tuple(row) for row in query(settings, store, sql).rows] for store in STORES}


def to_every_store(settings: Settings) -> dict[str, set[str]]:
    """The record keys that each refused."""
    drain(settings)
    load_timescale(settings)
    export(settings)
    refused: dict[str, set[str]] = {store: set() for store in STORES}
    for item in topics.quarantined(settings):
        store = item.reason.partition(":")[0]
        refused[store].add(codec.MarketData.FromString(item.record).record_key)
    return refused


def stats(number: int, exchange: str = "binance_usdm") -> Stats:
    print_of = stream.trade(number, exchange, symbol="BTC-USDT-PERP", channel="markPrice")
    head: dict[str, Any] = {name: getattr(print_of, name) for name in Record.__struct_fields__}
    return Stats(**{**head, "record_key": f"markPrice/{number}"}, mark_price="1.5")


def test_a_text_is_a_decimal_to_every_store_or_to_none_and_the_same_one(settings: Settings) -> None:
    texts = [*GOOD, *BAD, *random_texts(60)]
    values = []
    for number, text in enumerate(texts):
        message = codec.MarketData.FromString(codec.encode(stats(number)))
        message.index_price = text
        values.append(("binance_usdm", "BTC-USDT-PERP", message.SerializeToString()))
    stream.publish_values(settings, *values)

    fits = {
        f"markPrice/{number}": text for number, text in enumerate(texts) if re.fullmatch(FITS, text, re.ASCII)
    }
    assert set(GOOD) <= set(fits.values())
    assert not set(BAD) & set(fits.values())
    unfit = {f"markPrice/{number}" for number in range(len(texts))} - set(fits)
    assert to_every_store(settings) == dict.fromkeys(STORES, unfit)
    wanted = sorted((key, Decimal(text)) for key, text in fits.items())
    shown = "coalesce(CAST(index_price AS VARCHAR), wide_decimals['index_price']) AS index_price"
    rows_of = stored(settings, "record_key, index_price", "stats")
    rows_of["lake"] = query(settings, "lake", f"SELECT record_key, {shown} FROM stats ORDER BY 1").rows
    for store, rows in rows_of.items():
        assert [(key, Decimal(value)) for key, value in rows] == wanted, store


def test_25_decimals_come_out_of_every_store_digit_for_digit(settings: Settings) -> None:
    price, other = "0.1234567890123456789012345", "61837.0000000000000000000000001"
    records = [
        stream.trade(1, last_price=price, volume="2.5"),
        stream.trade(2, last_price="61837.63"),
        stream.trade(3, last_price="2", volume=other),
        stream.quote(1, bid=price, bid_size="1", ask=other, ask_size="3.25"),
        stream.book(
            1, bid_prices=(price, "0.1"), bid_sizes=("1", other), ask_prices=("2",), ask_sizes=("7",)
        ),
        stream.book(2, bid_prices=(), bid_sizes=(), ask_prices=(other,), ask_sizes=("0.5",)),
    ]
    stream.publish(settings, *records)
    assert not any(to_every_store(settings).values())
    wanted: dict[tuple[str, str], list[tuple[str, ...]]] = {
        ("trades", "last_price, volume"): [(price, "2.5"), ("61837.63", "0.02"), ("2", other)],
        ("quotes", "bid, bid_size, ask, ask_size"): [(price, "1", other, "3.25")],
    }
    for (table, columns), rows in wanted.items():
        exact = [tuple(map(Decimal, row)) for row in rows]
        for store, found in stored(settings, f"record_key, {columns}", table).items():
            assert [tuple(map(Decimal, row[1:])) for row in found] == exact, (store, table)
    sides = "bid_prices, bid_sizes, ask_prices, ask_sizes"
    levels: list[tuple[list[str], ...]] = [
        ([price, "0.1"], ["1", other], ["2"], ["7"]),
        ([], [], [other], ["0.5"]),
    ]
    for store, table in (("clickhouse", "books"), ("timescale", "book_updates"), ("lake", "book_updates")):
        books = query(settings, store, f"SELECT {sides} FROM {table} ORDER BY record_key").rows
        exact_books = [tuple([Decimal(text) for text in side or ()] for side in book) for book in books]
        assert exact_books == [tuple([*map(Decimal, side)] for side in book) for book in levels], store


def test_what_simulated_mexc_sends_comes_out_of_every_store_digit_for_digit(settings: Settings) -> None:
    venue, parser = make_venue("mexc"), load("mexc")()
    session = SyntheticSession(venue, 20.0, seed=5)
    for channel in ("aggre.deals@100ms", "aggre.bookTicker@100ms"):
        session.subscribe(venue.stream("BABYDOGEUSDT", channel))
    frames = [item.payload for tick in range(10) for item in session.due(stream.START_NS + tick * NS_PER_S)]
    records = [
        outcome
        for number, frame in enumerate(frames, 1)
        for outcome in parser.parse(Frame("mexc", "c", number, "", stream.START_NS, frame))
        if isinstance(outcome, Trade | Quote)
    ]
    stream.publish(settings, *records)
    assert not any(to_every_store(settings).values())
    prices = {one.record_key: one.last_price for one in records if isinstance(one, Trade)}
    bids = {one.record_key: one.bid for one in records if isinstance(one, Quote)}
    for table, column, told in (("trades", "last_price", prices), ("quotes", "bid", bids)):
        assert max(len(text.partition(".")[2]) for text in told.values() if text) == 25
        wanted = {key: Decimal(text) for key, text in told.items() if text}
        for store, rows in stored(settings, f"record_key, {column}", table).items():
            assert {key: Decimal(value) for key, value in rows} == wanted, store


def test_a_text_in_a_list_of_decimals_is_judged_as_one_alone(settings: Settings) -> None:
    texts = [*BAD, "1.5"]
    for place in (0, 1):
        values = []
        for number, text in enumerate(texts):
            message = codec.MarketData.FromString(codec.encode(stream.book(number, f"venue{place}")))
            message.bid_sizes[place] = text
            values.append((f"venue{place}", "BTC-USDT", message.SerializeToString()))
        stream.publish_values(settings, *values)
    refused = to_every_store(settings)
    unfit = {stream.book(number).record_key for number in range(len(BAD))}
    assert refused == dict.fromkeys(STORES, unfit)


def enums() -> list[tuple[Record, str]]:
    """Each enum of each kind."""
    records: tuple[Record, ...] = (
        stream.trade(1),
        stream.quote(1),
        stream.book(1),
        stream.bar(1),
        stream.gap(1),
        stats(1, "of_enums"),
    )
    return [
        (record, column.name)
        for record in records
        for column in (*COLUMNS[record.kind],)
        if column.form is Form.NAME and column.name != "kind"
    ] + [(record, "kind") for record in records]


def test_a_number_that_no_enum_has_is_refused_by_every_store_and_never_another_member(
    settings: Settings,
) -> None:
    chance = random.Random(7)
    values, keys = [], set()
    for record, field in enums():
        for number in {*chance.sample(UNKNOWN, 5), chance.randint(100, 2**31 - 1)}:
            message = codec.MarketData.FromString(codec.encode(record))
            message.record_key = f"{record.kind.name}/{field}/{number}"
            setattr(message, field, number)
            keys.add(message.record_key)
            values.append((record.exchange, record.symbol, message.SerializeToString()))
    good = [codec.encode(record) for record in {field[0].kind: field[0] for field in enums()}.values()]
    stream.publish_values(settings, *values, *(("binance", "BTC-USDT", value) for value in good))
    assert to_every_store(settings) == dict.fromkeys(STORES, keys)
    for table in ("trades", "quotes", "bars", "gaps", "stats"):
        sql = f"{table} WHERE exchange IN ('binance', 'of_enums')"
        counts = {store: rows[0][0] for store, rows in stored(settings, "count(*)", sql).items()}
        assert counts == dict.fromkeys(STORES, 1), table


def test_the_pattern_of_the_landing_tables_is_that_of_every_store() -> None:
    sql = (SQL_DIR / "clickhouse" / "0022_wide_decimals.sql").read_text()
    one = FITS.replace("(?:", "(").replace("\\", "\\\\")
    assert sql.count(f"'^{one}( {one})*$'") == 2
