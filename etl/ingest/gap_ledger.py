"""The gap ledger, as ClickHouse holds it from the topic: reading it, repairing what is open, and a summary by day."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from etl.exchanges import load as load_exchange
from etl.ingest.feed import Feed
from etl.ingest.repair import Repairer, is_to_repair, publish_verdict
from etl.model.records import Gap, GapKind, GapState, Source
from etl.reference.instruments import with_known
from etl.resources import resource
from etl.settings import Settings
from etl.sources.access import VenueAccess
from etl.stores.clickhouse_http import connect
from etl.transports.publisher import Publisher
from etl.transports.transport import transport_of

ROWS_MAX = 100_000
FLUSH_TIMEOUT_S = 60.0
ROUND_GAPS_MAX = 200
ASKED_FOR_NS = 86_400_000_000_000
"""A gap that a day of attempts has not closed is left to ``etl gaps repair``."""
FIRST_TIME, LAST_TIME = datetime(1970, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
"""All times that a column of nanoseconds holds."""
SUMMARY_FILE = resource("sql/queries/quality_summary.sql")

_COLUMNS = (
    "exchange, symbol, venue_symbol, channel, event_time_ns, receive_time_ns, source, connection_id, frame_sequence, "
    "frame_index, record_key, parser_version, gap_kind, gap_state, from_sequence, to_sequence, from_time_ns, "
    "to_time_ns, reason, attempts, repaired_rows, detected_time_ns, flags, "
    "toUnixTimestamp64Nano(key_time) AS key_time_ns"
)
_QUERY = f"""
SELECT {_COLUMNS} FROM gaps
WHERE ({{exchange:String}} = '' OR exchange = {{exchange:String}})
  AND ({{symbol:String}} = '' OR symbol = {{symbol:String}} OR venue_symbol = {{symbol:String}})
  AND ({{kind:String}} = '' OR toString(gap_kind) = {{kind:String}})
  AND ({{state:String}} = '' OR toString(gap_state) = {{state:String}})
  AND ({{key:String}} = '' OR record_key = {{key:String}})
ORDER BY event_time_ns LIMIT {ROWS_MAX} FORMAT JSONEachRow
"""  # noqa: S608  only names of columns of this file


class Selection(Struct, frozen=True, kw_only=True):
    """Which gaps; "" = all. ``symbol`` is the unified one or the venue's, ``key`` a gap's record_key."""

    exchange: str = ""
    symbol: str = ""
    kind: str = ""
    state: str = ""
    key: str = ""


def read_gaps(settings: Settings, selection: Selection) -> list[Gap]:
    """The last state of each gap, the oldest first, at most ``ROWS_MAX``. Raises ``StoreError``."""
    answer = _ask(settings, _QUERY, msgspec.structs.asdict(selection))
    return [_gap(msgspec.json.decode(line)) for line in answer.splitlines()]


def due(gaps: Sequence[Gap], now_ns: int) -> list[Gap]:
    """Those that a scheduled round asks for: the newest ``ROUND_GAPS_MAX`` that ended within ``ASKED_FOR_NS``."""
    wanted = [
        gap for gap in gaps if gap.to_time_ns and now_ns - gap.to_time_ns < ASKED_FOR_NS and is_to_repair(gap)
    ]
    return wanted[-ROUND_GAPS_MAX:]


def repair_gaps(settings: Settings, gaps: Sequence[Gap]) -> list[Gap]:
    """One attempt at each open one; their next states, published. Raises ``EtlError``."""
    wanted = [gap for gap in gaps if is_to_repair(gap)]
    publisher = transport_of(settings).publisher()
    settled: list[Gap] = []
    for exchange in dict.fromkeys(gap.exchange for gap in wanted):
        own = [gap for gap in wanted if gap.exchange == exchange]
        settled += asyncio.run(_repair_venue(settings, publisher, exchange, own))
    publisher.flush(FLUSH_TIMEOUT_S)
    return settled


async def _repair_venue(
    settings: Settings, publisher: Publisher, name: str, gaps: Sequence[Gap]
) -> list[Gap]:
    exchange = with_known(settings, load_exchange(name))
    feed = Feed(settings, exchange, publisher)
    settled = []
    async with VenueAccess.from_settings(settings, exchange) as access:
        repairer = Repairer(settings.ingest, feed, access.history, access.credentials)
        for gap in gaps:
            verdict = await repairer.attempt(gap)
            settled.append(publish_verdict(feed, gap, verdict))
    return settled


def summary(
    settings: Settings, start: datetime = FIRST_TIME, until: datetime = LAST_TIME
) -> list[dict[str, Any]]:
    """A row per venue and day of [start, until); ``sql/queries/quality_summary.sql`` says what its columns mean."""
    span = {"from": f"{start:%Y-%m-%d %H:%M:%S}", "until": f"{until:%Y-%m-%d %H:%M:%S}"}
    answer = _ask(settings, SUMMARY_FILE.read_text() + "\nFORMAT JSONEachRow", span)
    return [msgspec.json.decode(line) for line in answer.splitlines()]


def _ask(settings: Settings, sql: str, parameters: dict[str, str]) -> bytes:
    with connect(settings) as client:
        return client.execute(
            sql,
            {"readonly": "2", "output_format_json_quote_64bit_integers": "0"},
            parameters,
        )


def _gap(row: dict[str, Any]) -> Gap:
    return Gap(
        **{
            **row,
            "flags": tuple(row["flags"]),
            "source": Source[row["source"].upper()],
            "gap_kind": GapKind[row["gap_kind"].upper() or "NONE"],
            "gap_state": GapState[row["gap_state"].upper() or "NONE"],
        }
    )
