"""Every job once: DAG files and ``etl schedule`` read when it runs, how long, and how often it is tried again."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from etl.settings import Settings


class Job(Struct, frozen=True, kw_only=True):
    """``cron``: when, UTC; "" = by hand alone. ``of_interval``: its runs are about the time since the one before.
    ``pool``: of its tasks; "" = each names its own. The wait before a retry begins at ``retry_wait_s`` and doubles up
    to ``retry_wait_max_s``; ``time_out_s`` is that of one try; ``runs_max`` limits the runs at a time. ``stores``:
    without all of these it has nothing to do. ``deadline``: the setting that says when a run is late, and ``late`` what
    that means."""

    cron: str = ""
    of_interval: bool = False
    pool: str = ""
    priority: int = 1
    runs_max: int = 1
    retries: int
    retry_wait_s: float
    retry_wait_max_s: float
    time_out_s: float
    stores: tuple[str, ...] = ()
    deadline: str = ""
    late: str = ""

    def is_scheduled(self, settings: Settings) -> bool:
        return bool(self.cron) and settings.keeps(*self.stores)


JOBS: Mapping[str, Job] = {
    "load_timescale": Job(
        cron="* * * * *",
        pool="timescale",
        retries=5,
        retry_wait_s=5,
        retry_wait_max_s=120,
        time_out_s=1_800,
        stores=("timescale",),
        deadline="load_deadline_s",
        late="TimescaleDB lags behind the topic. Likely: the store is down, slow or compressing. "
        "Look at the log of load; nothing is lost.",
    ),
    "export_parquet": Job(
        cron="0 * * * *",
        of_interval=True,
        pool="lake",
        retries=5,
        retry_wait_s=10,
        retry_wait_max_s=300,
        time_out_s=3_600,
        stores=("lake",),
        deadline="export_deadline_s",
        late="The lake lags behind the topic. Likely: the lake is full or out of reach. "
        "Look at the log of export; nothing is lost.",
    ),
    "compact_lake": Job(
        cron="20 3 * * *",
        pool="lake",
        retries=3,
        retry_wait_s=30,
        retry_wait_max_s=600,
        time_out_s=10_800,
        stores=("lake",),
    ),
    "expire_data": Job(
        cron="40 4 * * *", retries=2, retry_wait_s=300, retry_wait_max_s=1_800, time_out_s=3_600
    ),
    "monitor_freshness": Job(
        cron="* * * * *",
        pool="monitor",
        priority=100,
        retries=1,
        retry_wait_s=10,
        retry_wait_max_s=30,
        time_out_s=120,
    ),
    "refresh_instruments": Job(
        cron="10 0 * * *",
        pool="topics",
        retries=5,
        retry_wait_s=60,
        retry_wait_max_s=1_800,
        time_out_s=600,
    ),
    "refresh_corporate_actions": Job(
        cron="20 11 * * *",
        pool="topics",
        retries=5,
        retry_wait_s=60,
        retry_wait_max_s=1_800,
        time_out_s=1_800,
    ),
    "refresh_symbol_stats": Job(
        cron="15 */4 * * *",
        of_interval=True,
        pool="topics",
        retries=3,
        retry_wait_s=60,
        retry_wait_max_s=600,
        time_out_s=900,
        stores=("clickhouse",),
    ),
    "refresh_observations": Job(
        cron="35 * * * *",
        pool="topics",
        retries=3,
        retry_wait_s=60,
        retry_wait_max_s=600,
        time_out_s=3_000,
    ),
    "repair_gaps": Job(
        cron="*/5 * * * *",
        pool="topics",
        retries=2,
        retry_wait_s=30,
        retry_wait_max_s=120,
        time_out_s=1_200,
    ),
    "audit_data": Job(
        cron="30 1 * * *",
        of_interval=True,
        pool="audit",
        retries=3,
        retry_wait_s=300,
        retry_wait_max_s=1_800,
        time_out_s=7_200,
        stores=("clickhouse", "timescale", "lake"),
    ),
    "publish_quality": Job(
        cron="30 2 * * *",
        of_interval=True,
        pool="audit",
        retries=3,
        retry_wait_s=300,
        retry_wait_max_s=1_800,
        time_out_s=3_600,
        stores=("clickhouse",),
    ),
    "backfill_market_data": Job(
        cron="0 0 * * *",
        of_interval=True,
        runs_max=2,
        retries=5,
        retry_wait_s=10,
        retry_wait_max_s=600,
        time_out_s=10_800,
        deadline="backfill_deadline_s",
        late="Likely: the venue's limit, or a range larger than meant (see the estimate in the log of plan). "
        "What is done stays done; a run that is stopped and cleared goes on there.",
    ),
    "replay_quarantine": Job(
        pool="topics", retries=3, retry_wait_s=30, retry_wait_max_s=300, time_out_s=3_600
    ),
    "clean_airflow": Job(
        cron="50 4 * * *",
        pool="airflow",
        retries=2,
        retry_wait_s=300,
        retry_wait_max_s=1_800,
        time_out_s=3_600,
    ),
}
"""By the name of its DAG."""
