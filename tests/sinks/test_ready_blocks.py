"""Ready blocks give the rows that the landing tables and their views give, column by column, in the real engine."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from etl.bench.storage import ALL, each_recorded
from etl.model.records import Kind, Record
from etl.settings import make
from etl.sinks.clickhouse_ways import STORED_TABLES, Part, block_parts, landing_parts
from etl.stores.clickhouse_http import ClickHouse, connect
from etl.stores.migrate import migrate_clickhouse
from etl.wire.codec import encode
from tests.express.test_decoders import mutated
from tests.support import fixtures, stream
from tests.support.servers import clickhouse_database
from tests.wire.test_codec import any_record

blocks = pytest.importorskip("etl.express.blocks", reason="the compiled code is not built")
MAKE = blocks.block_maker()
pytestmark = pytest.mark.integration

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the repository")
MESSAGES_MAX = 200_000
MUTATIONS = 3
LEFT_OUT = {"stored_time", "wide_decimals", "prices_wide", "sizes_wide"}
"""Columns that a block leaves to their defaults."""


@pytest.fixture(scope="module")
def client(clickhouse_url: str) -> Iterator[ClickHouse]:
    with clickhouse_database(clickhouse_url, "ready_blocks") as url:
        made = make(clickhouse_url=url)
        migrate_clickhouse(made)
        with connect(made, internal=True) as opened:
            yield opened


def send(client: ClickHouse, parts: Sequence[Part]) -> None:
    for part in parts:
        client.insert(part.path(uuid.uuid4().hex, MESSAGES_MAX), part.body)


def rows(client: ClickHouse) -> dict[str, list[bytes]]:
    """By table, with what its ALIAS columns say; the tables are empty afterwards."""
    found = {}
    for table in STORED_TABLES.values():
        answer = client.execute(
            f"SELECT * EXCEPT (stored_time) FROM {table} ORDER BY ALL FORMAT JSONCompactEachRow",
            {"asterisk_include_alias_columns": "1"},
        )
        found[table] = answer.splitlines()
        late = f"SELECT countIf(abs(dateDiff('second', stored_time, now64(9))) > 60) FROM {table}"
        assert client.execute(late) == b"0\n"
        client.execute(f"TRUNCATE TABLE {table}")
    return found


def judge(client: ClickHouse, values: Sequence[bytes]) -> dict[Kind, int]:
    """Both ways' rows, which are the same; how many there are of each kind. All ``values`` are proved alone."""
    by_blocks, others = block_parts(values, MAKE)
    assert not others
    send(client, by_blocks)
    found = rows(client)
    send(client, list(landing_parts(values, quarantined=False)))
    assert found == rows(client)
    return {kind: len(found[table]) for kind, table in STORED_TABLES.items()}


def proved(values: Sequence[bytes]) -> list[bytes]:
    """Those that are a block alone; all of them, where they are blocks together."""
    if len(values) == sum(len(pa.ipc.open_stream(each.stream).read_all()) for each in MAKE(values).values()):
        return list(values)
    return [value for value in values if MAKE([value])]


SOMETHING: dict[Any, Any] = {
    int: 1,
    int | None: 1,
    str: "x",
    str | None: "1",
    tuple[str, ...]: ("1",),
    tuple[int, ...]: (1,),
}


def filled(record: Record) -> Record:
    """With something in every field that can be empty."""
    fields = {field.name: SOMETHING.get(field.type) for field in structs.fields(record)}
    return structs.replace(record, **{name: value for name, value in fields.items() if value is not None})


def test_a_block_has_every_column_of_its_table_that_has_anything_in_it(client: ClickHouse) -> None:
    records = [filled(record) for record in (stream.trade(1), stream.quote(1), stream.book(1))]
    for (kind, block), record in zip(MAKE(list(map(encode, records))).items(), records, strict=True):
        assert kind is record.kind
        answer = client.execute(
            "SELECT name FROM system.columns WHERE database = currentDatabase()"
            f" AND table = '{STORED_TABLES[kind]}' AND default_kind IN ('', 'DEFAULT') FORMAT TSV"
        )
        assert set(answer.decode().split()) - LEFT_OUT == set(block.columns)


def test_every_message_of_the_fixtures_as_it_is_and_mutated(client: ClickHouse) -> None:
    chosen, values = random.Random(11), []
    for path in fixtures.paths():
        exchange = fixtures.feed_of(path)
        parser = exchange()
        for number, line in enumerate(fixtures.read(path), 1):
            for record in parser.parse(fixtures.frame_of(line, exchange.name, number)):
                if isinstance(record, Record) and record.kind in STORED_TABLES:
                    whole = encode(record)
                    values += [whole, *(mutated(whole, chosen) for _ in range(MUTATIONS))]
    found = judge(client, [value for value in values if MAKE([value])])
    assert all(found.values())


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(st.lists(any_record(), min_size=20, max_size=40), st.integers(1, 1 << 61))
def test_records_of_any_content(client: ClickHouse, records: list[Record], key_time_ns: int) -> None:
    usual = [structs.replace(record, key_time_ns=key_time_ns + n) for n, record in enumerate(records)]
    judge(client, proved([encode(record) for record in (*records, *usual)]))


KEYS = ("{}", "d/{}", "2024-08-08/4/1/{}", "x/{}/007", "{}/0", "{}/", "{}-uuid", "b/1844674407370955{:04}")
DECIMALS = ("0", "-0", "1.5", "-0.00000001", "61837.63000000", "9999999999.99999999", "0000000001.10", "12.3")
WIDE = (
    "-1234567890123456789.1234567890123456789",
    "0.0000000000000000001",
    "9999999999999999999",
    "10000000000",
)


def test_records_at_the_edges_of_their_columns(client: ClickHouse) -> None:
    number = count()
    records: list[Record] = []
    for key in KEYS:
        for time_ns in (0, stream.START_NS, stream.START_NS - 5, -1, (1 << 62) + 7):
            n = next(number)
            times: dict[str, Any] = {
                "event_time_ns": time_ns,
                "publish_time_ns": time_ns,
                "receive_time_ns": time_ns,
            }
            named: dict[str, Any] = {"record_key": key.format(n), "sequence": n if n % 2 else None, **times}
            records.append(stream.trade(n, trade_id=key.format(n).rpartition("/")[2], **named))
            records.append(stream.quote(n, **named))
            records.append(stream.book(n, **named))
    for text in (*DECIMALS, *WIDE):
        n = next(number)
        records.append(stream.trade(n, last_price=text, volume=None, trade_id=""))
        records.append(stream.quote(n, bid=text, bid_size=None, ask=None, ask_size=text))
    for texts in ((), DECIMALS[:1], DECIMALS):
        for others in ((), DECIMALS[:2], DECIMALS[::-1]):
            levels: dict[str, Any] = {
                "bid_prices": texts,
                "bid_sizes": texts[::-1],
                "ask_prices": others,
                "ask_sizes": others,
            }
            orders: dict[str, Any] = {"bid_orders": tuple(range(len(texts))), "ask_orders": ()}
            records.append(stream.book(next(number), **levels, **orders))
    found = judge(client, proved([encode(record) for record in records]))
    # a key of 20 digits is left to the landing table
    assert found == {Kind.TRADE: 47, Kind.QUOTE: 47, Kind.BOOK: 44}


def test_one_insert_is_one_part_and_its_token_counts_once(client: ClickHouse) -> None:
    values = [encode(make_one(n)) for n in range(3_000) for make_one in (stream.trade, stream.quote)]
    parts, _ = block_parts(values, MAKE)
    for part in (*parts, *parts):
        client.insert(part.path("the same", MESSAGES_MAX), part.body)
    for table in ("trades_stored", "quotes_stored"):
        answer = client.execute(f"SELECT count(), uniqExact(_part) FROM {table}")
        assert answer == b"3000\t1\n", table
    rows(client)


@needs_recordings
def test_every_recording(client: ClickHouse) -> None:
    for venue, records in each_recorded(RECORDINGS, ALL):
        found = judge(client, proved([encode(record) for record in records]))
        assert sum(found.values()), venue
