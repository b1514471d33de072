"""The sections of the settings: one frozen struct for each concern, with its defaults. docs/settings.md lists them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from etl.errors import UsageError

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_SSL", "SASL_PLAINTEXT")
_PLACE = r"(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?"
PLACES = re.compile(rf"{_PLACE}(?:\s*,\s*{_PLACE})*")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One concern's settings; a function takes the section that it needs."""


class Kafka(Section, frozen=True):
    url: str = ""
    """``host:port[,host:port]`` of the cluster; empty = the embedded broker."""
    port: int = 9092
    controller_port: int = 9093
    security_protocol: str = "PLAINTEXT"
    """As the cluster listens: ``PLAINTEXT``, ``SSL``, ``SASL_SSL``, ``SASL_PLAINTEXT``. docs/security.md shows each."""
    sasl_mechanism: str = ""
    """With SASL: ``SCRAM-SHA-512``, ``SCRAM-SHA-256`` or ``PLAIN``."""
    user: str = ""
    password: str = ""
    ca_file: str = ""
    """PEM of the authorities that may vouch for the brokers; empty = the system's."""
    certificate_file: str = ""
    """PEM of our own certificate, for a cluster that asks its clients for one."""
    key_file: str = ""
    key_password: str = ""
    verify_host: bool = True
    """Whether a broker's certificate must name the host that we asked."""

    @property
    def over_tls(self) -> bool:
        return self.security_protocol in ("SSL", "SASL_SSL")

    @property
    def over_sasl(self) -> bool:
        return self.security_protocol in ("SASL_SSL", "SASL_PLAINTEXT")

    def check(self) -> None:
        """Raises ``UsageError`` for settings that do not go together."""
        protocol = self.security_protocol
        with_tls = (self.ca_file, self.certificate_file, self.key_file, not self.verify_host)
        with_sasl = (self.sasl_mechanism, self.user, self.password)
        for wrong, what in (
            # never repeated: what was mistyped may be a password
            (self.url and not PLACES.fullmatch(self.url), "kafka_url must be host:port[,host:port]"),
            (protocol not in PROTOCOLS, f"kafka_security_protocol must be {_either(PROTOCOLS)}"),
            (protocol != "PLAINTEXT" and not self.url, f"{protocol} needs a kafka_url"),
            (self.over_sasl and self.sasl_mechanism not in MECHANISMS,
             f"{protocol} needs a kafka_sasl_mechanism: {_either(MECHANISMS)}"),
            (self.over_sasl and not (self.user and self.password),
             f"{protocol} needs kafka_user and kafka_password"),
            (any(with_sasl) and not self.over_sasl,
             f"kafka_sasl_mechanism, kafka_user and kafka_password need SASL_SSL, and this is {protocol}"),
            (any(with_tls) and not self.over_tls,
             f"kafka_ca_file, kafka_certificate_file, kafka_key_file and kafka_verify_host=false "
             f"need SSL or SASL_SSL, and this is {protocol}"),
            (self.sasl_mechanism == "PLAIN" and not self.over_tls,
             "PLAIN sends the password as it is: it needs SASL_SSL"),
            (bool(self.certificate_file) != bool(self.key_file),
             "kafka_certificate_file and kafka_key_file need one another"),
            (self.key_password and not self.key_file, "kafka_key_password needs kafka_key_file"),
        ):  # fmt: skip
            if wrong:
                raise UsageError(f"settings: {what}")


class Transport(Section, frozen=True):
    url: str = ""
    """Empty = Kafka, as its settings say, or ``kafka://host:port[,host:port]``. ``redis`` = the embedded Valkey;
    ``redis[s]://user:password@host:port/database?prefix=…&ca_file=…&certificate_file=…&key_file=…`` = a server of one's
    own, Redis 7 or Valkey."""
    redis_port: int = 6379
    redis_memory_mib: int = 1_024
    """Of the embedded Valkey, whose topics lie in memory: full, it takes nothing more until something was let go."""

    @property
    def over_redis(self) -> bool:
        return self.url == "redis" or self.url.startswith(("redis://", "rediss://"))

    @property
    def place(self) -> str:
        """Without what must not be shown."""
        return self.url.rpartition("@")[2].partition("?")[0]

    def check(self) -> None:
        """Raises ``UsageError``."""
        if self.url and not self.over_redis and not self.url.startswith("kafka://"):
            raise UsageError("settings: transport_url must be redis, redis[s]://… or kafka://…")


class Topics(Section, frozen=True):
    raw: str = "market-data.raw"
    normalized: str = "market-data.normalized"
    quarantine: str = "market-data.quarantine"
    statistics: str = "market-data.symbol-statistics"
    positions: str = "market-data.worker-positions"
    partitions: int = 1
    """Of the raw and of the normalized topic, when they are made. As many sinks can share the work; one sink alone is
    soonest done with one, for every partition has inserts of its own."""
    replication: int = 1
    retention_h: int = -1
    """-1 keeps everything; see docs/decisions/retention_gaps.md."""


class ClickHouse(Section, frozen=True):
    url: str = ""
    """``http[s]://user:password@host:port/database?ca_file=…``; docs/security.md has all of them over TLS."""
    port: int = 8123
    deduplication_window_blocks: int = 100_000


class Timescale(Section, frozen=True):
    """The embedded TimescaleDB has one session, which all its clients share."""

    url: str = ""
    """Any address that libpq takes, with its parameters."""
    analyst_url: str = ""
    """Of a login that may only read, for ``etl query``; empty = the embedded server's."""
    port: int = 5433
    idle_transaction_s: float = 60.0
    """A client that sits in an open transaction so long is disconnected: it keeps all others waiting."""
    housekeeping_s: float = 30.0
    """Between checkpoints and between looks at TimescaleDB's jobs."""


class Lake(Section, frozen=True):
    url: str = ""
    """A folder, or ``s3://bucket/prefix?endpoint_override=host:port``, or the same of ``gs://`` or ``az://``."""
    upload_url: str = ""
    """Local first: a bucket, addressed like ``url``, to which `etl export`, `etl sink lake` and `etl lake upload` bring
    what the lake at ``url``, a folder then, has got."""
    cache_mib: int = 0
    """Of the files of a bucket that were read lately, in the folder ``lake_cache`` of the state; 0 = none is kept."""
    file_rows_max: int = 1_000_000
    range_messages_max: int = 250_000
    """Of one partition, held in memory at once."""
    row_group_rows: int = 100_000
    grace_s: float = 3_600.0
    """How long a file that a compaction replaced is kept for readers that began before."""
    compaction_memory_mib: int = 1_024
    usd_gb_month: float = 0.0
    """What the store costs, US dollars for a GB and month, for `etl lake cost`; 0 = only list prices are shown."""


class Mail(Section, frozen=True):
    url: str = ""
    """``smtp://user:password@host:port/?disable_ssl=true&disable_tls=true``, as Airflow has it, and ``ca_file=…``."""
    port: int = 1025
    mailbox_port: int = 8025
    """Where the embedded mailbox shows what it got."""
    sender: str = "market-data@localhost"
    to: str = "operator@localhost"
    to_critical: str = ""
    """Who hears of critical incidents; empty = ``to``."""


class Airflow(Section, frozen=True):
    url: str = ""
    port: int = 8080
    database_url: str = ""
    log_days: int = 30
    """Task logs that are older are deleted by the DAG clean_airflow, 0 = never."""
    metadata_days: int = 0
    """Runs, task instances, XComs and events that are older are deleted by it, 0 = never."""

    def check(self) -> None:
        """Raises ``UsageError`` for what it cannot mean."""
        if self.log_days < 0 or self.metadata_days < 0:
            raise UsageError("settings: airflow_log_days and airflow_metadata_days are days, or 0 for never")


class Metrics(Section, frozen=True):
    port: int = 9400
    """Where a process serves its Prometheus metrics, 0 = nowhere. ``etl up`` gives each part its own, from the
    one after this on."""
    dag_port: int = 0
    """Where Airflow's scheduler serves the metrics of the DAGs' runs, 0 = nowhere. ``etl up`` gives it one."""
    addresses: tuple[str, ...] = ()
    """host:port of every process to watch; empty = what the supervisor of ``etl up`` runs."""


class Producer(Section, frozen=True):
    message_bytes_max: int = 4 << 20
    queue_messages_max: int = 200_000
    queue_bytes_max: int = 256 << 20
    linger_ms: int = 5


class Ingest(Section, frozen=True):
    express: bool = True
    """Compiled code where it is built: the same records and rows, sooner. Without, everything goes the plain way."""
    frame_bytes_max: int = 1 << 20
    read_pause_messages: int = 50_000
    read_resume_messages: int = 25_000
    book_hole_messages_max: int = 3
    """A hole in a book's changes of no more ids than so many of the last messages had is flagged and tolerated up to
    the next snapshot; 0 = never."""


class Sink(Section, frozen=True):
    """The ClickHouse sink."""

    batch_rows_max: int = 50_000
    batch_bytes_max: int = 32 << 20
    linger_ms: int = 20
    """How long a batch waits for more. Longer: fewer parts and less work for ClickHouse, but later to be queried."""
    revoke_wait_s: float = 10.0
    intent_age_max_s: float = 3_600.0
    inserts_parallel_max: int = 4
    retry_wait_max_s: float = 5.0
    rejected_max: int = 100
    """Messages of one batch that the store may refuse before the sink stops instead."""
    group: str = ""
    """Kafka's consumer group; empty = one for each ClickHouse database. A new one reads from the beginning."""
    instance: str = ""
    """A name of its own for each sink process lets one that died be replaced at once instead of timing out."""
    session_timeout_ms: int = 6_000
    """Kafka gives the partitions of a sink that died to another after so long."""


class Load(Section, frozen=True):
    """The load of TimescaleDB."""

    batch_rows_max: int = 10_000
    books: bool = False
    deadline_s: float = 900.0
    """Of a DAG run, from its queueing, here and below; one that is missed is mailed by Airflow's triggerer."""


class Export(Section, frozen=True):
    """The export into the lake."""

    deadline_s: float = 2_700.0
    flush_messages_max: int = 5_000_000
    """`etl sink lake` exports when so many messages wait, here and below: whichever is first."""
    flush_bytes_max: int = 1 << 30
    """Of messages as they lie on the topic, by the mean size of the newest."""
    flush_after_s: float = 3_600.0
    """Since the last export began."""
    look_s: float = 5.0
    """Between two looks at what waits."""


class Backfill(Section, frozen=True):
    daily_kinds: tuple[str, ...] = ()
    """Kinds that the daily scheduled run of backfill_market_data fetches; empty = none."""
    deadline_s: float = 21_600.0
    series: tuple[str, ...] = ()
    """Macro series that refresh_observations keeps, as their source spells them; empty = a few of each source."""


class Venues(Section, frozen=True):
    names: tuple[str, ...] = ("binance", "polygon", "alpaca")
    live: bool = False
    recordings_dir: str = ""
    archive_url: str = ""
    """Where archive files are fetched; empty = at the venue, or at its simulator."""
    request_budget_url: str = ""
    """``redis[s]://…`` where the processes of several machines share one request budget for each address and key of a
    venue; empty = those of one machine share a file under ``state_dir``."""


class Simulator(Section, frozen=True):
    port: int = 8700
    """First of a range: the n-th of the venues is simulated on the n-th port from here."""
    rate: float = 2_000.0
    """Events per second of all simulated venues together; 0 = a recording's own pace."""
    seed: int = 1
    loop: bool = False
    """Begin a recording again at its end, with ids and times moved on; else it is served once."""


class Monitor(Section, frozen=True):
    """The freshness monitor."""

    freshness_s: float = 30.0
    """A venue of which no channel gives anything for so long, in session, is an incident."""
    incident_reminder_s: float = 3_600.0
    backlog_messages_max: int = 1_000_000
    """Messages that a consumer group may be behind without catching up; the hourly export 60 times as many."""
    airflow: bool = True
    """Whether the monitor asks Airflow for failed runs."""


class Gateway(Section, frozen=True):
    """``etl gateway``, which gives records to programs and pages; docs/gateway.md."""

    port: int = 8060
    certificate_file: str = ""
    """PEM of its certificate, with those in between: then it speaks TLS, and its addresses are https and wss."""
    key_file: str = ""
    hosts: tuple[str, ...] = ()
    """Names by which it may be asked, beside loopback's and ``bind_host``."""
    origins: tuple[str, ...] = ()
    """Origins (``https://desk.example.net``) whose pages may ask it, beside its own."""
    clients_max: int = 2_000
    """Streams at once."""
    client_buffer_bytes_max: int = 16 << 20
    """What may wait for one client; beyond, it is cut off with its cursor."""
    ring_messages_max: int = 100_000
    """The newest messages, kept for clients that come back."""
    ring_bytes_max: int = 128 << 20
    past_readers_max: int = 8
    """Clients that are told the past at once; others wait for their turn."""
    heartbeat_s: float = 5.0
    rows_max: int = 1_000_000
    """Of one answer over HTTP."""
    scan_rows_max: int = 50_000_000
    """Rows that one question over HTTP may make ClickHouse read."""
    queries_max: int = 4
    """Questions to the stores at once."""
    query_within_s: float = 60.0

    def check(self) -> None:
        """Raises ``UsageError``."""
        if bool(self.certificate_file) != bool(self.key_file):
            raise UsageError("settings: gateway_certificate_file and gateway_key_file need one another")


class Expiry(Section, frozen=True):
    days: str = ""
    """What expire_data deletes after how many days: ``timescale.quotes=90, lake.quotes=900``; empty = nothing."""


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
