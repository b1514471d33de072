"""Bars by whole columns are the records that the venue's parser and the checks give, line by line, in every store."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from psycopg.rows import dict_row

from etl.errors import UsageError
from etl.exchanges import load
from etl.ingest import backfill, bulk
from etl.ingest.backfill_jobs import Job, make_job
from etl.ingest.bulk_rows import BulkReader, plain_outcomes
from etl.lake.query import connect as connect_lake
from etl.model.records import Bar, BarState, Frame, Source
from etl.model.times import parse_ns
from etl.settings import Settings, changed, make
from etl.simulator.flat_files import HEADINGS, bars_of, packed
from etl.sinks.bulk_bars import VARYING, Bars, writers
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.export import export
from etl.sinks.load import load_timescale
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.stores.timescale import connect as connect_timescale
from etl.transports.kafka import ensure_topics
from etl.validation import Checker
from etl.wire.codec import encode
from tests.support.topics import quarantined, records

POLYGON = load("polygon")
DAY = date(2024, 2, 26)
SPAN = parse_ns("2024-02-26T04:00:00"), parse_ns("2024-02-27T04:00:00")
GOOD = "AAPL,5040,191.9,191.78,191.94,191.75,1708938000000000000,118"
ODD = (
    "BRK.B,12.5,400,400.10,400.1,399.999,1708938060000000000,3",  # good, and plain
    "BACpL,x,1,1,1,1,1708938060000000000,3",
    "MSFT,1,2,3,4,5,1708938060000000000,3",  # no bar has its high below its low
    "MSFT,1,2,3,4,2,1708938060000000001,3",
    "TSLA,1,2",
    "TSLA,1,2,3,4,5,6,7,8,9",
    "",
    "TSLA,1e3,2,3,4,2,1708938120000000000,3",  # good, though not plainly
    "TSLA,-1,2,3,4,2,1708938120000000000,3",
    "TSLA,10,02,3,4,2,1708938120000000000,3",
    'TSLA,10,"2",3,4,2,1708938120000000000,3',
    "O:SPY240216C00500000,10,2,3,4,2,1708938120000000000,3",
    " NVDA,10,2,3,4,2,1708938120000000000,3",
    "NVDA,10,2,3,4,2,1708938150000000000,3",  # not at a minute: a flag
    "AMZN,10,2,3,4,2,1708938120000000000,3",  # told twice
    "AMZN,10,2,3,5,2,1708938120000000000,3",
    "GOOG,0.000000001,2,3,4,2,1708938120000000000,3",  # more digits than the narrow columns have
    "GOOG,99999999999,2,3,4,2,1708938180000000000,3",
    "GOOG,10,0,3,4,0,1708938240000000000,3",
    "ZS,10,2,3,4,2,1708938240000000000,3",
)


def frame(lines: str, number: int = 1, received_ns: int = 1_790_000_000_000_000_000) -> Frame:
    endpoint = f"archive:file:///flat/2024-02-26.csv#lines={number}"
    return Frame("polygon", "connection", number, endpoint, received_ns, lines.encode(), Source.BACKFILL)


def bars_as_records(bars: Bars) -> list[Bar]:
    """Each with what is its own."""
    return [
        Bar(
            **{
                **{name: getattr(bars.common, name) for name in Bar.__struct_fields__},
                **row,
                "bar_state": BarState(row["bar_state"]),
                "venue_symbol": row["symbol"],
                "key_time_ns": row["event_time_ns"],
            }
        )
        for row in bars.table.select(list(VARYING)).to_pylist()
    ]


def differences(frames: list[Frame]) -> tuple[int, int]:
    """How many lines were read by columns, and in all. Raises where both ways do not give the same outcomes."""
    assert POLYGON.bulk_bars is not None
    plain, parser = POLYGON(), POLYGON()
    reader, checker = BulkReader(parser, POLYGON.bulk_bars), Checker(POLYGON, judge_lateness=False)
    by_columns = in_all = 0
    for one in frames:
        expected = list(plain.parse(one))
        bars, odd = reader.read(one)
        found = plain_outcomes(parser.parse, one, odd)
        if bars is not None:
            good = bars_as_records(bars)
            assert not any(checker.check(record) for record in good), "a rule objects to what passed as good"
            found += good
            by_columns += len(good)
        index = lambda outcome: outcome.frame_index if isinstance(outcome, Bar) else outcome.index  # noqa: E731
        assert sorted(found, key=index) == expected
        in_all += len(expected)
    return by_columns, in_all


def test_lines_by_columns_are_the_records_of_the_parser() -> None:
    text = gzip.decompress(packed(bars_of(DAY, symbols=40, minutes=60, seed=3))).decode()
    lines = text.splitlines(keepends=True)
    frames = [frame("".join(lines[first : first + 700]), first + 1) for first in range(0, len(lines), 700)]
    assert differences(frames) == (2_400, 2_401), "all but the headings"


def test_lines_that_are_not_plainly_good_are_left_to_the_parser() -> None:
    text = "\n".join((HEADINGS.strip(), GOOD, *ODD)) + "\n"
    assert differences([frame(text)]) == (3, 2 + len(ODD)), "AAPL, BRK.B and ZS"
    assert differences([frame("\n".join((*ODD, GOOD)))])[0] == 3, "a block without an end of its last line"


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace(",", ";"),
        f"{GOOD}\r\n{GOOD}\r\n",
        f"{GOOD}\nÄÖ,1,2,3,4,2,1708938120000000000,3\n",
        "one,two\n1,2\n",
        "\n\n",
    ],
)
def test_a_block_that_cannot_be_read_by_columns_is_the_parsers_alone(text: str) -> None:
    assert differences([frame(text)])[0] == 0


def test_columns_go_by_their_headings() -> None:
    other = "window_start,ticker,open,high,low,close,volume,transactions,otc\n"
    row = "1708938000000000000,AAPL,191.9,191.94,191.75,191.78,5040,118,false\n"
    assert differences([frame(other + row), frame(row, 2), frame(GOOD, 3)])[0] == 2, (
        "the third is another order"
    )


@pytest.mark.parametrize("received", ["2024-02-26T14:30:20", "2024-02-26T15:00:00", "2024-02-27T02:00:00"])
def test_a_bar_is_open_closed_or_revised_as_of_when_it_was_asked_for(received: str) -> None:
    text = gzip.decompress(packed(bars_of(DAY, symbols=2, minutes=3, seed=3))).decode()
    assert differences([frame(text, received_ns=parse_ns(received))])[1] == 7


def test_only_bars_of_an_archive_come_in_bulk(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), live=True, archive_url=f"file://{tmp_path}")
    with pytest.raises(UsageError, match="bars of an archive alone"):
        bulk.require_bulk(make_job(settings, "polygon", ["AAPL"], ["bar"], *SPAN))
    with pytest.raises(UsageError, match="of venues that say how"):
        bulk.require_bulk(make_job(settings, "nse", [], ["bar"], *SPAN, from_archive=True))


def put(folder: Path, text: str) -> str:
    path = folder / POLYGON().archive_path(next(iter(POLYGON.archive_kinds)), "*", "2024-02-26").lstrip("/")
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return f"file://{folder}"


@pytest.mark.integration
def test_every_store_has_the_same_rows_by_either_way(
    settings_with: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bulk into all stores; then the same file by the topic, into stores that are empty again."""
    monkeypatch.delenv("POLYGON_API_KEY", raising=False)  # files that are here need none
    text = gzip.decompress(packed(bars_of(DAY, symbols=20, minutes=30, seed=5))).decode()
    url = put(tmp_path / "flat", text + "\n".join(ODD) + "\n")
    settings = settings_with(kafka=True, clickhouse=True, timescale=True, live=True, archive_url=url)
    ensure_topics(settings)
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    summary = bulk.run(settings, job_of(settings))
    in_bulk = stored(settings)
    assert {name: len(rows) for name, rows in in_bulk.items()} == dict.fromkeys(in_bulk, 600 + 2)
    codes = sorted(item.code for item in quarantined(settings))
    odd = [record for record in records(settings) if isinstance(record, Bar)]
    assert (len(odd), len(codes)) == (9, 10)

    bulk.run(settings, job_of(settings))
    assert stored(settings) == in_bulk, "again, and nothing new"

    with connect(settings, internal=True) as client:
        client.execute("TRUNCATE TABLE others_stored")
    with connect_timescale(settings) as connection:
        connection.execute("TRUNCATE bars")
    plain = changed(
        settings,
        state_dir=str(tmp_path / "plain"),
        normalized_topic="plain",
        quarantine_topic="plain-quarantine",
    )
    ensure_topics(plain)
    assert backfill.run(plain, job_of(plain)) == summary
    assert sorted(item.code for item in quarantined(plain)) == codes
    bars = [record for record in records(plain) if isinstance(record, Bar)]
    with connect(plain, internal=True) as client:
        client.insert(
            batch_path(MARKET_DATA, "plain", len(bars)), delimited([encode(record) for record in bars])
        )
    load_timescale(plain)
    export(plain)
    odd_keys = {(record.symbol, record.event_time_ns) for record in odd}
    by_topic = {
        name: {key: row for key, row in rows.items() if key not in odd_keys}
        for name, rows in stored(plain).items()
    }
    assert by_topic == in_bulk


def job_of(settings: Settings) -> Job:
    return make_job(settings, "polygon", [], ["bar"], *SPAN, from_archive=True)


OWN = frozenset(("receive_time_ns", "connection_id", "key_time_ns"))
"""What a run gives its rows, and not the file; and what a store has under another name."""


def stored(settings: Settings) -> dict[str, dict[tuple[str, int], dict[str, str]]]:
    """By store, symbol and start: the columns of each bar as text."""
    names = ", ".join(name for name in Bar.__struct_fields__ if name not in OWN)
    sql = f"SELECT {names} FROM bars"
    with connect_timescale(settings) as connection:
        timescale = connection.cursor(row_factory=dict_row).execute(sql.encode()).fetchall()
    with connect(settings) as client:
        lines = client.execute(f"{sql} FORMAT TSVRaw").decode().splitlines()
    clickhouse = [dict(zip(names.split(", "), line.split("\t"), strict=True)) for line in lines]
    with connect_lake(settings) as lake:
        lakes = lake.sql(sql).to_arrow_table().to_pylist()
    return {
        name: {
            (row["symbol"], int(row["event_time_ns"])): {key: str(value) for key, value in row.items()}
            for row in rows
        }
        for name, rows in (("timescale", timescale), ("clickhouse", clickhouse), ("lake", lakes))
    }


def test_there_is_a_writer_for_every_store(settings: Settings) -> None:
    assert set(writers(settings, ["clickhouse", "lake"])) == {"clickhouse", "lake"}
