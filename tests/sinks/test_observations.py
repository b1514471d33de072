"""Observations in every store: each vintage once, at any time what was known then, by the generator's own truth, and
beside the prices of every other market in one query."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path

import psycopg
import pytest
from msgspec import structs

from etl.audit.checks import run_check
from etl.exchanges.fred import Fred
from etl.lake import Lake
from etl.model.records import Observation
from etl.model.times import as_ns
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.timescale import Span, TimescaleStore
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale, statements
from etl.stores.query import query
from etl.validation.rows import RowsCheck
from etl.wire.codec import encode
from etl.wire.columns import decode
from tests.support import fred, lake
from tests.support.one_schema import ONE_SCHEMA, PRINTS, prints

pytestmark = pytest.mark.integration

SERIES = {
    "CPIAUCSL": ("Index 1982-1984=100", "Consumer Price Index"),
    "UNRATE": ("Percent", "Employment Situation"),
}
TIMES = [
    datetime(1962, 3, 10, tzinfo=UTC),
    datetime(2018, 4, 9, 5, 59, 59, tzinfo=UTC),
    datetime(2018, 4, 9, 6, 0, 0, tzinfo=UTC),
    datetime(2022, 1, 1, 12, tzinfo=UTC),
    datetime(2026, 11, 30, 12, tzinfo=UTC),
]
SHOWN = "symbol, observation_date, vintage_date, value, unit, release"
SILENT = [("SILENT", "3", "2020-06-01T00:00:00"), ("SILENT", "4", "2021-06-01T00:00:00")]
"""A series that keeps no vintages: the same one with another value, by the time of receipt."""


QUERIES = Path(__file__).parents[2] / "sql" / "queries"
BAD_KEY = "fred CPIAUCSL bad"


def bad() -> Observation:
    """What got into a store past the rules."""
    wrong_day = {"record_key": "bad", "vintage_date": "1990-01-01", "receive_time_ns": as_ns("1999-01-01")}
    return structs.replace(records()[0], **wrong_day)


def one_schema(settings: Settings, store: str) -> None:
    (statement,) = statements((QUERIES / f"one_schema_{store}.sql").read_text())
    found = query(settings, store, statement).rows
    prices = [
        (*(str(value).rstrip("0") if "." in str(value) else str(value) for value in row[:9]),)
        for row in found
    ]
    assert prices == ONE_SCHEMA
    newest = max((row for row in expected(TIMES[-1]) if row[0] == "UNRATE"), key=lambda row: row[1])
    (row,) = found
    assert (str(row[9])[:10], Decimal(str(row[10])), row[11], str(row[12])[:10]) == (
        str(newest[1]), newest[3], newest[4], str(newest[2]),
    )  # fmt: skip


def planted_is_found(settings: Settings, store: str) -> None:
    (offence,) = run_check(settings, date(1999, 1, 1), store, "observations_inconsistent")
    assert (offence.table, offence.key) == ("observations", BAD_KEY)
    assert run_check(settings, date(2026, 11, 30), store, "observations_inconsistent") == []


@cache
def records() -> list[Observation]:
    venue = fred.simulated()
    found = [one for series in SERIES for one in fred.backfilled(series, venue)[0]]
    silent = [
        structs.replace(
            found[0], symbol=symbol, value=value, observation_date="2020-01-01", vintage_date="2020-02-01",
            publish_time_ns=as_ns("2020-02-01"), key_time_ns=as_ns("2020-02-01"), receive_time_ns=as_ns(received),
            record_key=f"2020-01-01/2020-02-01/{value}",
        )
        for symbol, value, received in SILENT
    ]  # fmt: skip
    return found + silent


def expected(at: datetime) -> list[fred.Known]:
    venue = fred.simulated()
    rows = [row for series, said in SERIES.items() for row in fred.known_at(venue, series, *said, at)]
    if at > datetime(2020, 3, 1, tzinfo=UTC):
        value = Decimal(4) if at >= datetime(2021, 6, 1, tzinfo=UTC) else Decimal(3)
        rows.append(("SILENT", date(2020, 1, 1), date(2020, 2, 1), value, *SERIES["CPIAUCSL"]))
    return sorted(rows, key=str)


def test_the_truth_has_all_that_can_happen() -> None:
    assert [len(expected(at)) for at in TIMES[:3]] == [1, 658, 659], "one became known in that second"
    flags = {one.flags for one in records()}
    assert flags == {(), ("withdrawn",)}
    assert any(one.value is None for one in records() if not one.flags)
    assert min(one.publish_time_ns for one in records()) < 0, "vintages of before 1970"


def test_in_clickhouse(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    for number in range(2):
        with connect(settings, internal=True) as client:
            path = batch_path(MARKET_DATA, f"observations-{number}", len(records()) + len(PRINTS))
            client.insert(path, delimited(list(map(encode, [*records(), *prints()]))))
    with connect(settings) as client:
        assert client.execute("SELECT count() FROM observations FORMAT TSV") == b"%d\n" % len(records())
        assert client.execute("SELECT count() FROM bars FORMAT TSV") == b"0\n"
        for at in TIMES:
            answer = client.execute(
                f"SELECT {SHOWN} FROM observations_asof(at = '{at:%Y-%m-%d %H:%M:%S}') FORMAT TSV"
            )
            rows = [line.split("\t") for line in answer.decode().splitlines()]
            found = [
                (s, date.fromisoformat(d), date.fromisoformat(v), None if x == "\\N" else Decimal(x), u, r)
                for s, d, v, x, u, r in rows
            ]
            assert sorted(found, key=str) == sorted(_scaled(expected(at), found), key=str), at

    one_schema(settings, "clickhouse")
    with connect(settings, internal=True) as client:
        client.insert(batch_path(MARKET_DATA, "bad", 1), delimited([encode(bad())]))
    planted_is_found(settings, "clickhouse")


def _scaled(rows: list[fred.Known], like: list[fred.Known]) -> list[fred.Known]:
    """Decimals are compared by what they are, and sorted by their text."""
    by_place = {row[:3]: row[3] for row in like}
    same = []
    for row in rows:
        value = by_place.get(row[:3])
        same.append((*row[:3], value if value == row[3] else row[3], *row[4:]))
    return same


def test_in_timescaledb(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(timescale=True)
    migrate_timescale(settings)
    rows, refused = decode(enumerate(map(encode, [*records(), *prints()])))
    assert refused == []
    assert [item for one in rows for item in RowsCheck([Fred]).refused(one)] == []
    with TimescaleStore(settings) as store:
        store.next_offset("t", "t", 0, 0)
        for start in range(2):
            store.write(rows, Span("t", 0, start, start + 1))
    with psycopg.connect(settings.timescale_address) as connection:
        assert connection.execute("SELECT count(*) FROM observations").fetchall() == [(len(records()),)]
        for at in TIMES:
            found = connection.execute(
                f"SELECT {SHOWN} FROM observations_asof(%s)".encode(), (at,)
            ).fetchall()
            assert sorted(found, key=str) == sorted(_scaled(expected(at), found), key=str), at

    one_schema(settings, "timescale")
    with TimescaleStore(settings) as store:
        store.write(decode([(0, encode(bad()))])[0], Span("t", 0, 2, 3))
    planted_is_found(settings, "timescale")


def test_in_the_lake(settings: Settings) -> None:
    lake.export_records(settings, records()[:2_000])
    lake.export_records(settings, [*records(), *prints()], 2_000)
    research = Lake(settings)
    assert research.table("observations").lazy().collect().height == len(records())
    for at in TIMES:
        found = [row[1:-1] for row in research.observations_asof(at).fetchall()]
        assert sorted(found, key=str) == sorted(_scaled(expected(at), found), key=str), at

    one_schema(settings, "lake")
    lake.export_records(settings, [bad()], 9_000)
    planted_is_found(settings, "lake")


def test_an_observation_without_a_date_is_refused_by_every_writer() -> None:
    bad = structs.replace(records()[0], observation_date="2020-13-01")
    rows, _ = decode([(7, encode(bad))])
    (refused,) = RowsCheck([Fred]).refused(rows[0])
    assert (refused.offset, refused.code, refused.rule) == (7, "field_malformed", "observation_undated")
