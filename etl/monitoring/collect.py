"""What the rules judge, asked of metrics, broker, ClickHouse, Airflow and disk. Each may be down."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from etl.errors import EtlError
from etl.model.times import NS_PER_S, text_of
from etl.monitoring.job_runs import State, read_runs
from etl.monitoring.processes import Samples, platform
from etl.monitoring.rules import ROWS_INTERVAL_S, ROWS_INTERVALS, FailedRun, Observed
from etl.settings import Settings
from etl.sinks.readers import group_of

KAFKA_TIMEOUT_S = 5.0
RUNS_MAX = 100
DAY_S = 86_400
RUNS_BACK = timedelta(days=1)
_T = TypeVar("_T")


def collect(settings: Settings, now_ns: int) -> Observed:
    """Everything that can be asked now; what does not answer is in ``unseen`` with its reason."""
    unseen: dict[str, str] = {}

    def asked(name: str, ask: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return ask()
        except EtlError as error:
            unseen[name] = str(error)
            return otherwise

    broker = "Redis" if settings.transport.over_redis else "Kafka"
    # one that is slow takes nothing from what the others say
    samples, mute = platform(settings)
    ups = nested(samples, "etl_connection_up", "exchange", "connection")
    usage = shutil.disk_usage(settings.state_path if settings.state_path.exists() else ".")
    return Observed(
        last_receive_s=nested(samples, "etl_last_receive_timestamp_seconds", "exchange", "channel"),
        silence_normal_until_s=nested(
            samples, "etl_silence_normal_until_timestamp_seconds", "exchange", "channel"
        ),
        connections_up={exchange: any(up.values()) for exchange, up in ups.items()},
        faults=nested(samples, "etl_faults_total", "exchange", "kind"),
        parts=_parts(samples),
        backlogs=asked(broker, lambda: _backlogs(settings), {}),
        rows=asked("ClickHouse", lambda: _rows(settings, now_ns), {}) if settings.keeps("clickhouse") else {},
        writers=group_of(settings) if settings.keeps("clickhouse") else "",
        mute=mute,
        failed_runs=asked("Airflow", lambda: _failed_runs(settings, now_ns), [])
        if settings.monitor.airflow
        else _failed_jobs(settings),
        disk_free=(usage.free, usage.total),
        unseen=unseen,
    )


def nested(samples: Samples, name: str, outer: str, inner: str) -> dict[str, dict[str, float]]:
    """A metric's values by two of its labels; the greatest where several processes report the same."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for sample in samples.get(name, ()):
        values = found[sample.labels[outer]]
        values[sample.labels[inner]] = max(sample.value, values.get(sample.labels[inner], sample.value))
    return found


def _parts(samples: Samples) -> dict[str, tuple[str, float]]:
    since = {
        one.labels["part"]: one.value for one in samples.get("etl_part_state_since_timestamp_seconds", ())
    }
    return {
        one.labels["part"]: (one.labels["state"], since.get(one.labels["part"], 0.0))
        for one in samples.get("etl_part_info", ())
    }


def _backlogs(settings: Settings) -> dict[str, int]:
    from etl.transports.transport import transport_of

    found: dict[str, int] = defaultdict(int)
    for lag in transport_of(settings).backlogs(KAFKA_TIMEOUT_S):
        found[lag.group] += lag.messages
    return found


def _rows(settings: Settings, now_ns: int) -> Mapping[str, Sequence[int]]:
    """Trades and quotes received in each whole interval, by exchange, the newest last. Intervals without rows
    before an exchange's first do not count."""
    from etl.stores.clickhouse_http import internal_database
    from etl.stores.query import query

    internal, step = internal_database(settings), ROWS_INTERVAL_S
    # the newest interval that is whole, and written
    end_s = (now_ns // NS_PER_S - 60) // step * step
    start_s = end_s - step * (ROWS_INTERVALS + 1)
    received = f"receive_time_ns >= {start_s}000000000 AND receive_time_ns < {end_s}000000000"
    # the sorting key's time lies at most a day before receipt, so that a look reads little
    where = f"key_time >= toDateTime64({start_s - DAY_S}, 9, 'UTC') AND {received} AND source = 'stream'"
    columns = (
        f"toString(exchange) AS exchange, intDiv(receive_time_ns, {step}000000000) AS slot, count() AS n"
    )
    counted = " UNION ALL ".join(
        f"SELECT {columns} FROM {internal}.{table}_stored WHERE {where} GROUP BY exchange, slot"  # noqa: S608
        for table in ("trades", "quotes")
    )
    answer = query(settings, "clickhouse", f"SELECT exchange, slot, sum(n) FROM ({counted}) GROUP BY ALL")  # noqa: S608
    counts: dict[str, dict[int, int]] = defaultdict(dict)
    for exchange, slot, rows in answer.rows:
        counts[exchange][int(slot)] = int(rows)
    last = end_s // step - 1
    return {
        exchange: [by_slot.get(slot, 0) for slot in range(min(by_slot), last + 1)]
        for exchange, by_slot in counts.items()
    }


def _failed_jobs(settings: Settings) -> list[FailedRun]:
    """Of ``etl schedule``; none where it never ran."""
    return [
        FailedRun(name, text_of(run.due_ns), run.since_ns, by_airflow=False)
        for name, run in sorted(read_runs(settings).items())
        if run.state is State.FAILED
    ]


def _failed_runs(settings: Settings, now_ns: int) -> list[FailedRun]:
    """DAGs whose newest finished run failed."""
    from etl.embedded.airflow import AirflowClient, login, url

    since = datetime.fromtimestamp(now_ns // NS_PER_S, UTC) - RUNS_BACK
    client = AirflowClient(url(settings), *login(settings))
    newest: dict[str, tuple[datetime, dict[str, Any]]] = {}
    for run in client.finished_runs(since, RUNS_MAX):
        ended = datetime.fromisoformat(run["end_date"])
        if run["dag_id"] not in newest or ended > newest[run["dag_id"]][0]:
            newest[run["dag_id"]] = ended, run
    return [
        FailedRun(dag_id, run["dag_run_id"], int(ended.timestamp() * NS_PER_S))
        for dag_id, (ended, run) in sorted(newest.items())
        if run["state"] == "failed"
    ]
