"""Of two records of one identity the same one stands in every store: each against each, in both orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import psycopg
import pyarrow as pa
import pytest
from msgspec import structs

from etl.lake.compaction import compact
from etl.lake.rows import newest as newest_in_table
from etl.lake.rows import to_arrow
from etl.model.records import BarState, CorrectionKind, GapState, Kind, Record
from etl.model.tables import TABLE_BY_KIND
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.timescale import Span, TimescaleStore
from etl.stores.clickhouse_http import connect, internal_database
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.wire.codec import encode
from etl.wire.columns import Rows, decode, newest
from tests.support import lake, stream
from tests.support.stream import START_NS

pytestmark = pytest.mark.integration

Winners = dict[str, int]
"""By record key: 1, the first that was written stands; 2, the second."""


def variants(kind: Kind) -> Sequence[Record]:
    """A record in every combination of what could decide."""
    versions = (1, 2)
    if kind is Kind.TRADE:
        return [stream.trade(0, parser_version=version) for version in versions]
    if kind is Kind.GAP:
        return [
            stream.gap(0, gap_state=state, receive_time_ns=START_NS + later, parser_version=version)
            for state, later, version in product(GapState, (0, 1), versions)
        ]
    if kind is Kind.CORRECTION:
        return [
            stream.correction("1", kind=kind, last_price=price, parser_version=version, record_key="1")
            for kind, price, version in product(CorrectionKind, (None, "7.5"), versions)
        ]
    sent = (0, START_NS + 5, START_NS + 9)
    received = (START_NS + 7, START_NS + 8)
    return [
        stream.bar(
            0, bar_state=state, publish_time_ns=at, receive_time_ns=received_ns, parser_version=version
        )
        for state, at, received_ns, version in product(BarState, sent, received, versions)
    ]


def pairs(kind: Kind) -> tuple[list[Record], list[Record]]:
    """Every variant before every other, and itself, under an identity of their own."""
    first, second = [], []
    for number, (one, other) in enumerate(product(variants(kind), repeat=2)):
        key = f"{one.record_key}/pair-{number}"
        first.append(structs.replace(one, record_key=key, frame_sequence=1))
        second.append(structs.replace(other, record_key=key, frame_sequence=2))
    return first, second


def rank(record: Record) -> tuple[int, ...]:
    """Contract, section 2, in words of its own."""
    if record.kind is Kind.BAR:
        sent = record.publish_time_ns or record.receive_time_ns
        return int(record.bar_state), sent, record.parser_version  # type: ignore[attr-defined]
    if record.kind is Kind.GAP:
        return record.receive_time_ns, int(record.gap_state)  # type: ignore[attr-defined]
    if record.kind is Kind.CORRECTION:
        is_error = record.correction is CorrectionKind.ERROR  # type: ignore[attr-defined]
        return is_error, record.last_price is not None, record.parser_version  # type: ignore[attr-defined]
    return (record.parser_version,)


def expected(kind: Kind, of_equals: int) -> Winners:
    found = {}
    for one, other in zip(*pairs(kind), strict=True):
        found[one.record_key] = of_equals if rank(one) == rank(other) else 1 + (rank(other) > rank(one))
    return found


def rows_of(records: Sequence[Record]) -> Rows:
    ((rows,), refused) = decode(enumerate(map(encode, records)))
    assert refused == []
    return rows


KINDS = pytest.mark.parametrize("kind", [Kind.TRADE, Kind.BAR, Kind.GAP, Kind.CORRECTION])


@KINDS
def test_in_a_batch(kind: Kind) -> None:
    first, second = pairs(kind)
    kept = newest(rows_of([*first, *second])).values
    assert dict(zip(kept["record_key"], kept["frame_sequence"], strict=True)) == expected(kind, of_equals=1)


@KINDS
def test_in_a_file_of_the_lake(kind: Kind) -> None:
    first, second = pairs(kind)
    table: pa.Table = newest_in_table(to_arrow(rows_of([*first, *second])), kind)
    kept = dict(zip(table["record_key"].to_pylist(), table["frame_sequence"].to_pylist(), strict=True))
    assert kept == expected(kind, of_equals=1)


@KINDS
def test_in_a_query_of_the_lake_and_after_its_compaction(settings: Settings, kind: Kind) -> None:
    first, second = pairs(kind)
    lake.export_records(settings, first)
    lake.export_records(settings, second, len(first))
    query = f"SELECT record_key, frame_sequence FROM {TABLE_BY_KIND[kind]}"
    assert dict(lake.query(settings, query)) == expected(kind, of_equals=1)
    assert compact(settings, 0).files_before > 1
    assert dict(lake.query(settings, query)) == expected(kind, of_equals=1)


@KINDS
def test_in_timescaledb(settings_with: Callable[..., Settings], kind: Kind) -> None:
    settings = settings_with(timescale=True)
    migrate_timescale(settings)
    with TimescaleStore(settings) as store:
        topic = f"precedence-{kind.name}"
        store.next_offset(topic, topic, 0, 0)
        for start, records in enumerate(pairs(kind)):
            store.write([rows_of(records)], Span(topic, 0, start, start + 1))
    with psycopg.connect(settings.timescale_address) as connection:
        query = f"SELECT record_key, frame_sequence FROM {TABLE_BY_KIND[kind]}"
        assert dict(connection.execute(query.encode()).fetchall()) == expected(kind, of_equals=1)


@KINDS
def test_in_clickhouse(settings_with: Callable[..., Settings], kind: Kind) -> None:
    """Before the parts are merged and after."""
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    with connect(settings, internal=True) as client:
        for name, records in zip(("a", "b"), pairs(kind), strict=True):
            path = batch_path(MARKET_DATA, f"precedence-{kind.name}-{name}", len(records))
            client.insert(path, delimited(list(map(encode, records))))
    table = "trades_stored" if kind is Kind.TRADE else "others_stored"
    internal = internal_database(settings)
    with connect(settings) as client:
        for statement in ("SELECT 1", f"OPTIMIZE TABLE {internal}.{table} FINAL"):
            client.execute(statement)
            answer = client.execute(
                f"SELECT record_key, frame_sequence FROM {TABLE_BY_KIND[kind]} FORMAT TSV"
            )
            found = dict(line.split("\t") for line in answer.decode().splitlines())
            kept = {key: int(number) for key, number in found.items()}
            assert kept == expected(kind, of_equals=2)
