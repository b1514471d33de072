"""Every setting, in one frozen object; the only reader of the environment.

Sources, later wins: defaults, the TOML file named by ``ETL_CONFIG``, environment variables ``ETL_<FIELD>``.
An unknown key is an error. ``ETL_TEST_*`` belongs to the tests and is passed over.

A server URL left empty means the embedded server on loopback; a URL that is set is used as it is and nothing
is started for it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from etl.errors import UsageError

ENVIRONMENT_PREFIX = "ETL_"
IGNORED_PREFIXES = ("ETL_TEST_",)


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    # places
    state_dir: str = "var"
    bind_host: str = "127.0.0.1"

    # servers: empty = embedded
    kafka_url: str = ""
    clickhouse_url: str = ""
    timescale_url: str = ""
    smtp_url: str = ""
    airflow_url: str = ""
    airflow_database_url: str = ""
    lake_url: str = ""

    # ports of the embedded servers
    kafka_port: int = 9092
    kafka_controller_port: int = 9093
    clickhouse_port: int = 8123
    timescale_port: int = 5433
    smtp_port: int = 1025
    mailbox_port: int = 8025
    airflow_port: int = 8080
    simulator_port: int = 8700
    """First of a range: the n-th venue of ``venues`` is simulated on the n-th port from here."""
    metrics_port: int = 9400
    """Where a process serves its Prometheus metrics, 0 = nowhere. ``etl up`` gives each part its own, from the
    one after this on."""
    dag_metrics_port: int = 0
    """Where Airflow's scheduler serves the metrics of the DAGs' runs, 0 = nowhere. ``etl up`` gives it one."""

    # the embedded TimescaleDB: one session that all its clients share
    timescale_idle_transaction_s: float = 60.0
    """A client that sits in an open transaction so long is disconnected: it keeps all others waiting."""
    timescale_housekeeping_s: float = 30.0
    """Between checkpoints and between looks at TimescaleDB's jobs."""

    # topics
    raw_topic: str = "market-data.raw"
    normalized_topic: str = "market-data.normalized"
    quarantine_topic: str = "market-data.quarantine"
    statistics_topic: str = "market-data.symbol-statistics"
    topic_partitions: int = 1
    """Of the raw and of the normalized topic, when they are made. As many sinks can share the work; one sink alone is
    soonest done with one, for every partition has inserts of its own."""
    topic_replication: int = 1
    topic_retention_h: int = -1
    """-1 keeps everything; see docs/decisions/retention_gaps.md."""

    # limits
    frame_bytes_max: int = 1 << 20
    message_bytes_max: int = 4 << 20
    producer_queue_messages_max: int = 200_000
    producer_queue_bytes_max: int = 256 << 20
    producer_linger_ms: int = 5
    read_pause_messages: int = 50_000
    read_resume_messages: int = 25_000
    book_hole_messages_max: int = 3
    """A hole in a book's changes of no more ids than so many of the last messages had is flagged and tolerated up to
    the next snapshot; 0 = never."""

    # ClickHouse sink
    sink_batch_rows_max: int = 50_000
    sink_batch_bytes_max: int = 32 << 20
    sink_linger_ms: int = 20
    """How long a batch waits for more. Longer: fewer parts and less work for ClickHouse, but later to be queried."""
    sink_revoke_wait_s: float = 10.0
    sink_intent_age_max_s: float = 3_600.0
    sink_inserts_parallel_max: int = 4
    sink_retry_wait_max_s: float = 5.0
    sink_rejected_max: int = 100
    """Messages of one batch that the store may refuse before the sink stops instead."""
    sink_group: str = ""
    """Kafka's consumer group; empty = one for each ClickHouse database. A new one reads from the beginning."""
    sink_instance: str = ""
    """A name of its own for each sink process lets one that died be replaced at once instead of timing out."""
    sink_session_timeout_ms: int = 6_000
    """Kafka gives the partitions of a sink that died to another after so long."""
    clickhouse_deduplication_window_blocks: int = 100_000

    # TimescaleDB load, lake
    load_batch_rows_max: int = 10_000
    load_books: bool = False
    lake_file_rows_max: int = 1_000_000
    lake_range_messages_max: int = 250_000
    """Of one partition, held in memory at once."""
    lake_row_group_rows: int = 250_000
    lake_grace_s: float = 3_600.0
    """How long a file that a compaction replaced is kept for readers that began before."""
    lake_compaction_memory_mib: int = 1_024

    # venues
    venues: str = "binance,polygon,alpaca"
    live: bool = False
    recordings_dir: str = ""
    simulator_rate: float = 2_000.0
    """Events per second of all simulated venues together; 0 = a recording's own pace."""
    simulator_seed: int = 1
    simulator_loop: bool = False
    """Begin a recording again at its end, with ids and times moved on; else it is served once."""

    backfill_daily_kinds: str = ""
    """Kinds that the daily scheduled run of backfill_market_data fetches, comma-separated; empty = none."""
    archive_url: str = ""
    """Where archive files are fetched; empty = at the venue, or at its simulator."""

    # mail
    mail_from: str = "market-data@localhost"
    mail_to: str = "operator@localhost"
    mail_to_critical: str = ""
    """Who hears of critical incidents; empty = ``mail_to``."""

    # deadlines of DAG runs, from their queueing; one that is missed is mailed by Airflow's triggerer
    load_deadline_s: float = 900.0
    export_deadline_s: float = 2_700.0
    backfill_deadline_s: float = 21_600.0

    # retention
    expire_days: str = ""
    """What expire_data deletes after how many days: ``timescale.quotes=90, lake.quotes=900``; empty = nothing."""

    # freshness monitor
    freshness_s: float = 30.0
    """A venue of which no channel gives anything for so long, in session, is an incident."""
    incident_reminder_s: float = 3_600.0
    backlog_messages_max: int = 1_000_000
    """Messages that a consumer group may be behind without catching up; the hourly export 60 times as many."""
    metrics_addresses: str = ""
    """host:port of every process to watch, comma-separated; empty = what the supervisor of ``etl up`` runs."""
    watch_airflow: bool = True
    """Whether the monitor asks Airflow for failed runs."""

    log_level: str = "INFO"
    crash_point: str = ""
    """Where the process kills itself (etl/crash.py); for tests and ``etl bench kill`` only."""

    def venue_names(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.venues.split(",") if name.strip())

    def simulator_port_of(self, venue: str) -> int:
        """The port of the simulator that plays ``venue``, which must be one of ``venues``."""
        return self.simulator_port + self.venue_names().index(venue)

    @property
    def state_path(self) -> Path:
        return Path(self.state_dir).resolve()

    @property
    def kafka_bootstrap(self) -> str:
        return self.kafka_url or f"{self.bind_host}:{self.kafka_port}"

    @property
    def clickhouse_address(self) -> str:
        return self.clickhouse_url or f"http://{self.bind_host}:{self.clickhouse_port}/market"

    @property
    def timescale_address(self) -> str:
        return self.timescale_url or (
            f"postgresql://postgres@{self.bind_host}:{self.timescale_port}/postgres"
        )

    @property
    def smtp_address(self) -> str:
        return self.smtp_url or (
            f"smtp://{self.bind_host}:{self.smtp_port}/?disable_ssl=true&disable_tls=true"
        )

    @property
    def lake_path(self) -> str:
        return self.lake_url or str(self.state_path / "lake")


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Complete settings, or a ``UsageError`` that names the bad key and where it stands."""
    environment = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    config_file = environment.get("ETL_CONFIG", "")
    if config_file:
        values.update(_read_toml(config_file))
    known = set(Settings.__struct_fields__)
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable == "ETL_CONFIG":
            continue
        if variable.startswith(IGNORED_PREFIXES):
            continue
        field = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if field not in known:
            raise UsageError(f"{variable}: no such setting; see etl/settings.py for the names")
        values[field] = text
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"settings: {error}") from None


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings that differ from the defaults, as variables for a child process."""
    return {
        ENVIRONMENT_PREFIX + field.upper(): _as_text(getattr(settings, field))
        for field in Settings.__struct_fields__
        if getattr(settings, field) != getattr(_DEFAULTS, field)
    }


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_toml(config_file: str) -> dict[str, Any]:
    try:
        with open(config_file, "rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"ETL_CONFIG={config_file}: {error}") from None


_DEFAULTS = Settings()
