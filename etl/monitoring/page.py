"""What the Pipeline Monitor shows: sections, each read from the parts' metrics, the broker or one store.

A section answers within ``ANSWER_WITHIN_S`` whatever is down: its state is then ``down``, with the reason. However
many pages are open, a section is read by one thread at a time and its answer is shared for ``SHARED_FOR_S``.
"""

# ruff: noqa: S608  (queries are put together from the limits below)

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from typing import Any

from msgspec import Struct

from etl.adapter.market_calendar import ALWAYS
from etl.errors import EtlError
from etl.exchanges import load as load_exchange
from etl.ingest.backfill_marks import at_work
from etl.model.times import NS_PER_DAY, NS_PER_S
from etl.monitoring.incidents import recent
from etl.monitoring.processes import Samples, platform, unknown_fields
from etl.monitoring.rules import limits_s
from etl.settings import Settings
from etl.sources.market_hours import HOURS_PER_DAY, open_hours
from etl.stores.clickhouse_http import internal_database
from etl.stores.query import plain, query

ANSWER_WITHIN_S = 10.0
SHARED_FOR_S = 1.0
KAFKA_TIMEOUT_S = 4.0
HISTORY_MINUTES = 15
HISTORY_STEP_S = 10
HISTORY_TABLES = (
    ("trade", "trades_stored"), ("quote", "quotes_stored"), ("book", "books_stored"), ("bar", "bars_stored"),
)  # fmt: skip
COVERAGE_DAYS = 14
EPOCH_ORDINAL = date(1970, 1, 1).toordinal()
COVERAGE_SYMBOLS_MAX = 200
"""Of those that traded most: contracts come and go by the thousand."""
GAPS_SHOWN_MAX = 200
BACKFILLS_SHOWN_MAX = 20
INCIDENTS_SHOWN_MAX = 50

OK, DOWN = "ok", "down"


class Section(Struct, frozen=True, kw_only=True):
    """``reason`` says why there is no ``data``."""

    state: str
    taken_ns: int
    data: Any = None
    reason: str = ""


class Monitor:
    """Reads sections for whoever asks; safe from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # one each: a store that hangs holds up none that asks another
        self._readers = ThreadPoolExecutor(len(SECTIONS), thread_name_prefix="monitor")
        self._lock = threading.Lock()
        self._readings: dict[str, tuple[float, Future[Section]]] = {}

    def section(self, name: str) -> Section:
        """``name`` is one of ``SECTIONS``; raises ``KeyError`` for another."""
        read = SECTIONS[name]
        with self._lock:
            begun, reading = self._readings.get(name, (0.0, None))
            if reading is None or (reading.done() and time.monotonic() - begun > SHARED_FOR_S):
                reading = self._readers.submit(self._read, read)
                self._readings[name] = (time.monotonic(), reading)
        try:
            return reading.result(ANSWER_WITHIN_S)
        except TimeoutError:
            return Section(state=DOWN, taken_ns=time.time_ns(), reason=f"no answer in {ANSWER_WITHIN_S:g} s")

    def _read(self, read: Callable[[Settings], Any]) -> Section:
        try:
            return Section(state=OK, taken_ns=time.time_ns(), data=read(self._settings))
        except EtlError as error:
            return Section(state=DOWN, taken_ns=time.time_ns(), reason=str(error))


def live(settings: Settings) -> dict[str, Any]:
    """Parts, venues and sinks as their metrics count them; ``silent`` ones gave none.

    Counters are since each part's start: the page makes rates and recent percentiles from two readings, and begins
    anew where a counter fell.
    """
    samples, silent = platform(settings)
    if not samples:
        raise EtlError(f"no metrics on {', '.join(silent)}: is `etl up` running?")
    return {
        "silent": silent,
        "parts": _parts(samples),
        "venues": {exchange: _venue(exchange, samples) for exchange in _values(samples, "exchange")},
        "sinks": {sink: _sink(sink, samples) for sink in _values(samples, "sink")},
        "storage": _storage(samples),
        "gateway": _gateway(samples),
    }


def backlog(settings: Settings) -> list[dict[str, Any]]:
    """Messages that each consumer group has still to read, by topic and partition."""
    from etl.transports.transport import transport_of

    return [
        {"group": lag.group, "topic": lag.topic, "partition": lag.partition, "messages": lag.messages}
        for lag in transport_of(settings).backlogs(KAFKA_TIMEOUT_S)
    ]


def history(settings: Settings) -> list[dict[str, Any]]:
    """Events by exchange, kind and step of time, over the last minutes; ``t`` is the step's start in Unix seconds.

    From the stored rows: an eighth of what the views cost, and a row sent twice counts twice until it is merged.
    """
    internal = internal_database(settings)
    step = f"toUnixTimestamp(toStartOfInterval(time, INTERVAL {HISTORY_STEP_S} SECOND))"
    since = f"time >= now() - INTERVAL {HISTORY_MINUTES} MINUTE AND time < now()"
    counts = " UNION ALL ".join(
        f"SELECT toString(exchange) AS exchange, '{kind}' AS kind, {step} AS t, count() AS events"
        f" FROM {internal}.{table} WHERE {since} GROUP BY exchange, t"
        for kind, table in HISTORY_TABLES
    )
    return _rows(settings, "clickhouse", f"SELECT * FROM ({counts}) ORDER BY t")


def quarantine(settings: Settings) -> list[dict[str, Any]]:
    """What the last day put into the quarantine, by exchange, code and severity."""
    return _rows(
        settings,
        "clickhouse",
        "SELECT toString(exchange) AS exchange, toString(code) AS code, toString(severity) AS severity,"
        " count() AS events FROM quarantine WHERE time > now() - INTERVAL 1 DAY"
        " GROUP BY exchange, code, severity ORDER BY events DESC LIMIT 200",
    )


def gaps(settings: Settings) -> dict[str, Any]:
    """Gaps by exchange, kind and state; of the open ones the newest in full."""
    counts = _rows(
        settings,
        "clickhouse",
        "SELECT toString(exchange) AS exchange, toString(gap_kind) AS gap_kind,"
        " toString(gap_state) AS gap_state, count() AS gaps FROM gaps GROUP BY ALL ORDER BY ALL",
    )
    newest = _rows(
        settings,
        "clickhouse",
        "SELECT toString(exchange) AS exchange, toString(symbol) AS symbol, toString(channel) AS channel,"
        " toString(gap_kind) AS gap_kind, record_key, from_sequence, to_sequence,"
        " from_time_ns / 1e9 AS from_s, to_time_ns / 1e9 AS to_s, receive_time_ns / 1e9 AS seen_s, reason"
        f" FROM gaps WHERE gap_state = 'open' ORDER BY receive_time_ns DESC LIMIT {GAPS_SHOWN_MAX}",
    )
    return {"counts": counts, "open": newest}


def coverage(settings: Settings) -> list[dict[str, Any]]:
    """Trades, and hours of the day with any, by exchange, symbol and day (UTC), of those that traded most; with the
    hours in which the market is open (``with_open_hours``)."""
    since = f"date_trunc('day', now()) - INTERVAL '{COVERAGE_DAYS - 1} days'"
    rows = _rows(
        settings,
        "timescale",
        "SELECT exchange, symbol, bucket::date AS day, count(*) AS hours, sum(trades)::bigint AS trades"
        f" FROM ohlcv_1h WHERE bucket >= {since} AND (exchange, symbol) IN"
        f" (SELECT exchange, symbol FROM ohlcv_1h WHERE bucket >= {since} GROUP BY exchange, symbol"
        f" ORDER BY sum(trades) DESC LIMIT {COVERAGE_SYMBOLS_MAX})"
        " GROUP BY exchange, symbol, day ORDER BY exchange, symbol, day",
    )
    return list(with_open_hours(rows, time.time_ns() // NS_PER_DAY, settings.venues.live))


def with_open_hours(rows: Iterable[dict[str, Any]], today: int, is_live: bool) -> Iterator[dict[str, Any]]:
    """Each of ``rows`` with its day's ``open_hours``, and a row for a day without a trade where that is not 24: a
    market that is closed lacks nothing; a simulated one never is. ``None`` beyond the end of the market's calendar.
    ``today``: days since 1970."""
    found = {(row["exchange"], row["symbol"], f"{row['day']}"): row for row in rows}
    for exchange, symbol in dict.fromkeys((exchange, symbol) for exchange, symbol, _ in found):
        for number in range(today - COVERAGE_DAYS + 1, today + 1):
            day = date.fromordinal(EPOCH_ORDINAL + number).isoformat()
            hours = open_hours(load_exchange(exchange).calendar if is_live else ALWAYS, number)
            row = found.get((exchange, symbol, day))
            if row is not None or (hours is not None and hours < HOURS_PER_DAY):
                none = {"exchange": exchange, "symbol": symbol, "day": day, "hours": 0, "trades": 0}
                yield {**(row or none), "open_hours": hours}


def quality(settings: Settings) -> list[dict[str, Any]]:
    """What was published of each venue's last days: ``etl.monitoring.quality``."""
    return _rows(
        settings,
        "clickhouse",
        "SELECT toString(exchange) AS exchange, toString(day) AS day, score, coverage, gaps_per_million,"
        " share_repaired, quarantined, latency_p99_ms FROM venue_quality AS published FINAL"
        f" WHERE published.day > today() - {COVERAGE_DAYS} ORDER BY exchange, day",
    )


def backfills(settings: Settings) -> list[dict[str, Any]]:
    """Those that are at work or were left, the last one at work first: chunks done of those planned. Unix seconds."""
    return [
        {
            "name": one.name,
            "exchange": one.plan.exchange,
            "symbols": one.plan.symbols,
            "kinds": one.plan.kinds,
            "start_s": one.plan.start_ns / NS_PER_S,
            "end_s": one.plan.end_ns / NS_PER_S,
            "done": one.done,
            "chunks": one.plan.chunks,
            "changed_s": one.changed_ns / NS_PER_S,
        }
        for one in at_work(settings)[:BACKFILLS_SHOWN_MAX]
    ]


def incidents(settings: Settings) -> list[dict[str, Any]]:
    """What was mailed about, the newest first; times in Unix seconds, ``recovered_s`` 0 while it lasts."""
    return [
        {
            "title": incident.finding.title,
            "severity": incident.finding.severity,
            "how_far": incident.finding.how_far,
            "to_do": incident.finding.to_do,
            "link": incident.finding.link,
            "since_s": incident.finding.since_ns / NS_PER_S,
            "recovered_s": incident.recovered_ns / NS_PER_S,
        }
        for incident in recent(settings.state_path, INCIDENTS_SHOWN_MAX)
    ]


SECTIONS: Mapping[str, Callable[[Settings], Any]] = {
    "live": live,
    "backlog": backlog,
    "history": history,
    "quarantine": quarantine,
    "gaps": gaps,
    "coverage": coverage,
    "quality": quality,
    "backfills": backfills,
    "incidents": incidents,
}


def _parts(samples: Samples) -> list[dict[str, Any]]:
    since = _by_label(samples, "etl_part_state_since_timestamp_seconds", "part")
    memory = _by_label(samples, "etl_part_memory_bytes", "part")
    restarts = _by_label(samples, "etl_part_restarts_total", "part")
    return [
        {
            "part": (part := sample.labels["part"]),
            "state": sample.labels["state"],
            "since_s": since.get(part, 0.0),
            "memory_bytes": int(memory.get(part, 0)),
            "restarts": int(restarts.get(part, 0)),
        }
        for sample in samples.get("etl_part_info", ())
    ]


def _venue(exchange: str, samples: Samples) -> dict[str, Any]:
    def by(name: str, label: str) -> dict[str, float]:
        return _by_label(samples, name, label, exchange=exchange)

    received = by("etl_last_receive_timestamp_seconds", "channel")
    normal_until = by("etl_silence_normal_until_timestamp_seconds", "channel")
    return {
        "events": by("etl_events_total", "kind"),
        "frames": sum(by("etl_frames_total", "exchange").values()),
        "quarantined": by("etl_quarantined_total", "code"),
        "ignored": by("etl_ignored_total", "name"),
        "faults": by("etl_faults_total", "kind"),
        "unknown_fields": unknown_fields(samples).get(exchange, {}),
        "gaps": by("etl_gaps_total", "gap_kind"),
        "reconnects": sum(by("etl_reconnects_total", "reason").values()),
        "connections": by("etl_connection_up", "connection"),
        "last_receive_s": received,
        "limits_s": limits_s(load_exchange(exchange), received, normal_until),
        "latency_buckets": by("etl_ack_latency_seconds_bucket", "le"),
    }


def _sink(sink: str, samples: Samples) -> dict[str, Any]:
    return {
        "rows": sum(_by_label(samples, "etl_sink_rows_total", "sink", sink=sink).values()),
        "rejected": sum(_by_label(samples, "etl_sink_rejected_total", "sink", sink=sink).values()),
        "store_up": all(_by_label(samples, "etl_sink_store_up", "sink", sink=sink).values()),
        "write_buckets": _by_label(samples, "etl_sink_write_seconds_bucket", "le", sink=sink),
    }


def _storage(samples: Samples) -> dict[str, Any]:
    """Bytes by folder of the state, and the fullest disk that any process tells of."""
    disks = [
        (free.value, size.value)
        for free, size in zip(
            samples.get("etl_disk_free_bytes", ()), samples.get("etl_disk_bytes", ()), strict=False
        )
    ]
    free, size = min(disks, default=(0.0, 0.0))
    return {
        "folders": _by_label(samples, "etl_state_bytes", "folder"),
        "free_bytes": free,
        "disk_bytes": size,
    }


def _gateway(samples: Samples) -> dict[str, float] | None:
    """``None`` where no gateway runs."""
    names = ("clients", "buffered_bytes", "delivered_records_total", "cut_off_total")
    if not samples.get("etl_gateway_clients"):
        return None
    return {name: sum(one.value for one in samples.get(f"etl_gateway_{name}", ())) for name in names}


def _by_label(samples: Samples, name: str, label: str, **having: str) -> dict[str, float]:
    """Sums over all other labels."""
    sums: dict[str, float] = defaultdict(float)
    for sample in samples.get(name, ()):
        if all(sample.labels.get(key) == value for key, value in having.items()):
            sums[sample.labels[label]] += sample.value
    return dict(sums)


def _values(samples: Samples, label: str) -> Iterable[str]:
    """Exchanges are those that a worker serves, sinks those that write."""
    name = {"exchange": "etl_frames_total", "sink": "etl_sink_rows_total"}[label]
    return sorted({sample.labels[label] for sample in samples.get(name, ())})


def _rows(settings: Settings, store: str, sql: str) -> list[dict[str, Any]]:
    answer = query(settings, store, sql)
    return [dict(zip(answer.names, map(plain, row), strict=True)) for row in answer.rows]
