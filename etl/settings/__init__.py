"""Every setting, in sections, in one frozen object; the only reader of the environment.

Sources, later wins: defaults, the TOML file named by ``ETL_CONFIG``, environment variables ``ETL_<NAME>``. The TOML
file has a table for each section (``[kafka] url = …``). A setting's ``NAME`` in the environment is its section and
field (``ETL_KAFKA_URL``), or the shorter one in ``SHORT_NAMES`` (``ETL_VENUES``); docs/settings.md lists them all. An
unknown key is an error. A file of the folder ``ETL_SECRETS_DIR`` counts as the variable of its name, where that is not
set: secrets come so from Docker and Kubernetes. ``ETL_TEST_*`` belongs to the tests and is passed over.

A server URL left empty means the embedded server on loopback; for one that is set nothing is started.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from etl.errors import UsageError
from etl.settings.sections import (
    Airflow,
    Backfill,
    ClickHouse,
    Expiry,
    Export,
    Gateway,
    Ingest,
    Kafka,
    Lake,
    Load,
    Mail,
    Metrics,
    Monitor,
    Producer,
    Section,
    Simulator,
    Sink,
    Timescale,
    Topics,
    Transport,
    Venues,
)

ENVIRONMENT_PREFIX = "ETL_"
IGNORED_PREFIXES = ("ETL_TEST_",)
CONFIG_VARIABLE = "ETL_CONFIG"
SWITCH = {"on": True, "off": False}
"""Beside ``true`` and ``false``."""
SECRETS_VARIABLE = "ETL_SECRETS_DIR"
SECRET_BYTES_MAX = 1 << 16
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
STORES = ("clickhouse", "timescale", "lake")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state_dir: str = "var"
    bind_host: str = "127.0.0.1"
    """Where the embedded servers and the metrics listen."""
    open_to_network: bool = False
    """Whether servers without a password may listen on an address that is not loopback."""
    log_level: str = "INFO"
    stores: tuple[str, ...] = STORES
    """What is filled: of ``clickhouse``, ``timescale`` and ``lake``. What is left out is neither started, nor migrated,
    nor asked by any job."""

    transport: Transport = Transport()
    kafka: Kafka = Kafka()
    topics: Topics = Topics()
    clickhouse: ClickHouse = ClickHouse()
    timescale: Timescale = Timescale()
    lake: Lake = Lake()
    mail: Mail = Mail()
    airflow: Airflow = Airflow()
    metrics: Metrics = Metrics()
    producer: Producer = Producer()
    ingest: Ingest = Ingest()
    sink: Sink = Sink()
    load: Load = Load()
    export: Export = Export()
    backfill: Backfill = Backfill()
    venues: Venues = Venues()
    simulator: Simulator = Simulator()
    monitor: Monitor = Monitor()
    gateway: Gateway = Gateway()
    expiry: Expiry = Expiry()

    @property
    def state_path(self) -> Path:
        return Path(self.state_dir).resolve()

    def keeps(self, *stores: str) -> bool:
        """Whether all of these are filled."""
        return set(stores) <= set(self.stores)

    def check(self) -> None:
        """Raises ``UsageError``."""
        if not self.stores or not set(self.stores) <= set(STORES):
            raise UsageError(f"settings: stores must be of {', '.join(STORES)}")

    @property
    def kafka_bootstrap(self) -> str:
        named = (
            self.transport.url.removeprefix("kafka://") if self.transport.url.startswith("kafka://") else ""
        )
        return named or self.kafka.url or f"{self.bind_host}:{self.kafka.port}"

    @property
    def redis_address(self) -> str:
        named = self.transport.url
        return f"redis://{self.bind_host}:{self.transport.redis_port}" if named == "redis" else named

    @property
    def clickhouse_address(self) -> str:
        login = f"default:{word}@" if (word := self.clickhouse_password) else ""
        return self.clickhouse.url or f"http://{login}{self.bind_host}:{self.clickhouse.port}/market"

    @property
    def clickhouse_password(self) -> str:
        """Of the embedded server's one user; "" before its first start."""
        return file.read_text() if (file := self.state_path / "clickhouse.password").exists() else ""

    @property
    def timescale_address(self) -> str:
        return self.timescale.url or f"postgresql://postgres@{self.bind_host}:{self.timescale.port}/postgres"

    @property
    def timescale_analyst_address(self) -> str:
        """Of the login that may only read; "" where it is not known: its password is made with the embedded server."""
        if self.timescale.analyst_url or self.timescale.url or not self.analyst_password_file.exists():
            return self.timescale.analyst_url
        password = self.analyst_password_file.read_text()
        return f"postgresql://analyst:{password}@{self.bind_host}:{self.timescale.port}/postgres"

    @property
    def analyst_password_file(self) -> Path:
        return self.state_path / "timescale_analyst.password"

    @property
    def smtp_address(self) -> str:
        return self.mail.url or f"smtp://{self.bind_host}:{self.mail.port}/?disable_ssl=true&disable_tls=true"

    @property
    def lake_path(self) -> str:
        return self.lake.url or str(self.state_path / "lake")

    def simulator_port_of(self, venue: str) -> int:
        """The port of the simulator that plays ``venue``, which must be one of the venues."""
        return self.simulator.port + self.venues.names.index(venue)


SHORT_NAMES: Mapping[str, Mapping[str, str]] = {
    "topics": {"raw": "raw_topic", "normalized": "normalized_topic", "quarantine": "quarantine_topic",
               "statistics": "statistics_topic", "positions": "positions_topic", "partitions": "topic_partitions",
               "replication": "topic_replication", "retention_h": "topic_retention_h"},
    "transport": {"redis_port": "redis_port", "redis_memory_mib": "redis_memory_mib"},
    "mail": {"url": "smtp_url", "port": "smtp_port", "mailbox_port": "mailbox_port", "sender": "mail_from"},
    "metrics": {"dag_port": "dag_metrics_port"},
    "producer": {"message_bytes_max": "message_bytes_max"},
    "ingest": {name: name for name in Ingest.__struct_fields__},
    "venues": {name: name for name in Venues.__struct_fields__} | {"names": "venues"},
    "expiry": {"days": "expire_days"},
    "monitor": {name: name for name in Monitor.__struct_fields__} | {"airflow": "watch_airflow"},
}  # fmt: skip
"""By section and field: names that are not simply the two together."""


def _names() -> dict[str, tuple[str, str]]:
    names = {}
    for field in msgspec.structs.fields(Settings):
        if isinstance(field.default, Section):
            short = SHORT_NAMES.get(field.name, {})
            for inner in field.default.__struct_fields__:
                names[short.get(inner, f"{field.name}_{inner}")] = field.name, inner
        else:
            names[field.name] = "", field.name
    return names


NAMES: Mapping[str, tuple[str, str]] = _names()
"""The name of every setting, as in ``ETL_<NAME>`` but in small letters → its section ("" = none) and field."""
_DEFAULTS = Settings()


def make(**values: Any) -> Settings:
    """Settings that differ from the defaults, by the names of ``NAMES``: ``make(kafka_url="…", live=True)``."""
    return changed(_DEFAULTS, **values)


def changed(settings: Settings, **values: Any) -> Settings:
    """``settings`` with other values, by the names of ``NAMES``; texts are read as in the environment. Raises
    ``UsageError`` for a value of another type and ``KeyError`` for a name that is none."""
    sections: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        section, field = NAMES[name]
        sections.setdefault(section, {})[field] = _typed(name, value)
    plain = sections.pop("", {})
    replaced = {
        name: msgspec.structs.replace(getattr(settings, name), **fields) for name, fields in sections.items()
    }
    return msgspec.structs.replace(settings, **plain, **replaced)


def value_of(settings: Settings, name: str) -> Any:
    """The setting that ``NAMES`` calls ``name``."""
    section, field = NAMES[name]
    return getattr(getattr(settings, section) if section else settings, field)


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Complete settings, or a ``UsageError`` that names the bad key and where it stands."""
    environment = _with_secrets(os.environ if environment is None else environment)
    values: dict[str, Any] = {}
    if config_file := environment.get(CONFIG_VARIABLE, ""):
        values.update(_read_toml(config_file))
    for variable, text in environment.items():
        if not _is_ours(variable) or variable in (CONFIG_VARIABLE, SECRETS_VARIABLE):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if name not in NAMES:
            raise UsageError(f"{variable}: no such setting; see docs/settings.md for the names")
        values[name] = text
    settings = changed(_DEFAULTS, **values)
    settings.check()
    settings.transport.check()
    settings.kafka.check()
    settings.airflow.check()
    settings.gateway.check()
    return settings


def as_environment(settings: Settings) -> dict[str, str]:
    """The settings that differ from the defaults, as variables for a child process."""
    return {
        ENVIRONMENT_PREFIX + name.upper(): _as_text(value)
        for name in NAMES
        if (value := value_of(settings, name)) != value_of(_DEFAULTS, name)
    }


def other_environment() -> dict[str, str]:
    """This process's environment and secrets without our settings, for a child that gets its own."""
    return {name: text for name, text in _with_secrets(os.environ).items() if not _is_ours(name)}


def _with_secrets(environment: Mapping[str, str]) -> Mapping[str, str]:
    """With the files of ``ETL_SECRETS_DIR``, each a variable that is not set. Raises ``UsageError``, which
    repeats nothing of them, if one cannot be read."""
    folder = environment.get(SECRETS_VARIABLE, "")
    if not folder:
        return environment
    secrets = {}
    try:
        for path in sorted(Path(folder).iterdir()):
            # a mounted Secret has links and folders of its own, which begin with a dot
            if _VARIABLE.fullmatch(path.name) and path.is_file():
                with path.open("rb") as file:
                    secrets[path.name] = file.read(SECRET_BYTES_MAX).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{SECRETS_VARIABLE}={folder}: {reason}") from None
    return {**secrets, **environment}


def _is_ours(variable: str) -> bool:
    return variable.startswith(ENVIRONMENT_PREFIX) and not variable.startswith(IGNORED_PREFIXES)


def venue_key(names: Sequence[str], environment: Mapping[str, str] | None = None) -> str | None:
    """The first that is set of these environment variables, in which keys of venues stand; ``None`` if none is. No key
    has spaces around it, but a file or a form that it was copied from may."""
    environment = _with_secrets(os.environ if environment is None else environment)
    found = (environment.get(name, "").strip() for name in names)
    return next(filter(None, found), None)


def _typed(name: str, value: Any) -> Any:
    """``value``, a text of the environment or a value of the TOML file, as its setting's type. Spaces around a text, or
    around one in a list, mean nothing, save in a password; an empty one in a list is none."""
    default = value_of(_DEFAULTS, name)
    if isinstance(value, str) and not name.endswith("password"):
        value = value.strip()
    if isinstance(default, tuple):
        parts = value.split(",") if isinstance(value, str) else value
        if isinstance(parts, list | tuple):
            value = [part for it in parts if (part := it.strip() if isinstance(it, str) else it) != ""]
    if isinstance(default, bool) and isinstance(value, str):
        value = SWITCH.get(value.lower(), value)
    kind = tuple[str, ...] if isinstance(default, tuple) else type(default)
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"settings: {name}: {error}") from None


def _as_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_toml(config_file: str) -> dict[str, Any]:
    """Values by name. A table is a section; a key outside of the tables goes by its name in the environment."""
    try:
        with open(config_file, "rb") as file:
            document = tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{CONFIG_VARIABLE}={config_file}: {error}") from None
    by_place = {place: name for name, place in NAMES.items()}
    values = {}
    for key, value in document.items():
        if not isinstance(value, dict):
            values[_known(key if key in NAMES else None, config_file, key)] = value
            continue
        for field, inner in value.items():
            values[_known(by_place.get((key, field)), config_file, f"[{key}] {field}")] = inner
    return values


def _known(name: str | None, config_file: str, shown: str) -> str:
    if name is None:
        raise UsageError(f"{config_file}: {shown}: no such setting; see docs/settings.md for the names")
    return name
