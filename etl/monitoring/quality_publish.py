"""Quality by venue and day: counted in ClickHouse, scored, and published to a table, the lake and a page.

    count      sql/queries/quality_summary.sql over the day, and its quarantined events and incidents
    score      0 to 100, by the formula of ``etl.monitoring.quality.score``
    publish    venue_quality in ClickHouse; quality/date=….parquet in the lake; quality/index.html in the state

Run again for a day, it replaces what was there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.ingest.gap_ledger import summary
from etl.model.times import NS_PER_S
from etl.monitoring import incidents
from etl.monitoring.quality import Quality, score
from etl.monitoring.quality_page import page_of
from etl.settings import Settings
from etl.stores.clickhouse_http import connect, insert_path
from etl.stores.files import write_whole

PAGE_DAYS = 92
"""Shown on the page, and by ``read``."""
PUBLISHED_DAYS = 3
"""The newest days are published anew at each run: repairs and backfills still change them."""
_QUARANTINED = """
SELECT toString(exchange) AS exchange, count() AS n FROM quarantine
WHERE severity = 'hard' AND outcome NOT IN ('published', 'released')
  AND time >= {from:DateTime} AND time < {until:DateTime}
GROUP BY exchange FORMAT JSONEachRow
"""
_READ = """
SELECT * EXCEPT (exchange, day, published_time), toString(exchange) AS exchange, toString(day) AS day
FROM venue_quality AS published FINAL WHERE published.day >= {since:Date} ORDER BY day DESC, exchange FORMAT JSONEachRow
"""
_JSON_NUMBERS = {"output_format_json_quote_64bit_integers": "0"}
_WRITE = "INSERT INTO venue_quality FORMAT JSONEachRow"


class _Count(Struct):
    exchange: str
    n: int


def publish(settings: Settings, last_day: date, days: int = PUBLISHED_DAYS) -> list[Quality]:
    """Count, score and publish the ``days`` up to ``last_day``, the newest first. Raises ``StoreError``, and
    ``StoreUnavailable`` of the lake."""
    found = []
    for day in (last_day - timedelta(days=back) for back in range(days)):
        counted = count(settings, day)
        if counted:
            _store(settings, counted)
            if settings.keeps("lake"):
                _to_lake(settings, day, counted)
        found += counted
    write_whole(page_path(settings), page_of(read(settings, last_day)).encode())
    return found


def count(settings: Settings, day: date) -> list[Quality]:
    """Of every venue that has events of the day."""
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    span = {"from": _text(start), "until": _text(start + timedelta(days=1))}
    with connect(settings) as client:
        answer = client.execute(_QUARANTINED, _JSON_NUMBERS, span)
    quarantined = {one.exchange: one.n for one in msgspec.json.Decoder(_Count).decode_lines(answer)}
    start_ns = int(start.timestamp()) * NS_PER_S
    opened = Counter(
        one.finding.exchange
        for one in incidents.read(settings.state_path).incidents
        if start_ns <= one.opened_ns < start_ns + 86_400 * NS_PER_S
    )
    rows = [
        msgspec.structs.replace(
            msgspec.convert(row, Quality, strict=False),
            quarantined=quarantined.get(row["exchange"], 0),
            incidents=opened[row["exchange"]],
        )
        for row in summary(settings, start, start + timedelta(days=1))
    ]
    return [msgspec.structs.replace(row, score=score(row)) for row in rows]


def read(settings: Settings, last_day: date) -> list[Quality]:
    """What was published of the ``PAGE_DAYS`` up to ``last_day``, the newest first. Raises ``StoreError``."""
    since = last_day - timedelta(days=PAGE_DAYS - 1)
    with connect(settings) as client:
        answer = client.execute(_READ, _JSON_NUMBERS, {"since": since.isoformat()})
    return msgspec.json.Decoder(Quality).decode_lines(answer)


def page_path(settings: Settings) -> Path:
    return settings.state_path / "quality" / "index.html"


def _store(settings: Settings, rows: Sequence[Quality]) -> None:
    with connect(settings) as client:
        client.insert(insert_path(_WRITE, {}), msgspec.json.Encoder().encode_lines(rows))


def _to_lake(settings: Settings, day: date, rows: Sequence[Quality]) -> None:
    """``quality/date=….parquet``: small files beside the tables, which any reader opens by their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from etl.lake.storage import open_storage

    types = {str: pa.string(), date: pa.date32(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema(
        [(field.name, types.get(field.type, pa.float64())) for field in msgspec.structs.fields(Quality)]
    )
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([msgspec.structs.asdict(row) for row in rows], schema), sink)
    open_storage(settings).put(f"quality/date={day}.parquet", sink.getvalue())


def _text(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def scores(rows: Sequence[Quality]) -> dict[str, float]:
    """By day and venue, as a run of the job tells it."""
    return {f"{row.day} {row.exchange}": row.score for row in rows}
