"""Which parts `etl up` runs for given settings, in which order, and in which environment."""

from __future__ import annotations

import itertools
import os
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from etl import settings as settings_module
from etl.embedded.airflow import airflow_parts
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.kafka import kafka_part
from etl.embedded.mailbox import mailbox_part
from etl.embedded.part import Part, tcp_ready
from etl.embedded.timescale import timescale_part
from etl.embedded.valkey import valkey_part
from etl.exchanges import has_stream
from etl.resources import IMPORT_ROOT
from etl.settings import Settings, changed
from etl.simulator.venues import is_simulated

BROKERS = ("kafka", "valkey")
"""One of them runs, or none."""
PREPARED_WITHIN_S = 600.0
"""Migrations may have to rewrite tables."""
WORKER_READY_WITHIN_S = 60.0
WORKER_STOP_WITHIN_S = 20.0
"""Long enough for a worker to flush what its producer holds."""


def parts(
    settings: Settings, with_airflow: bool, with_schedule: bool = False, with_gateway: bool = False
) -> tuple[Part, ...]:
    """Servers, what prepares them, venues, workers, sink, gateway, and Airflow or the scheduler; nothing for a server
    that has a URL, nor for a store that is not kept."""
    embedded = tuple(servers(settings))
    served = {part.name for part in embedded}
    metrics_ports = itertools.count(settings.metrics.port + 1)

    def command(name: str, *words: str, depends_on: tuple[str, ...] = (), runs_once: bool = False) -> Part:
        return Part(
            name=name,
            command=(sys.executable, "-m", "etl", *words),
            depends_on=tuple(other for other in depends_on if other in served),
            runs_once=runs_once,
            ready_within_s=PREPARED_WITHIN_S,
        )

    def worker(name: str, *words: str, depends_on: tuple[str, ...]) -> Part:
        port = next(metrics_ports)
        return msgspec.structs.replace(
            command(name, *words, depends_on=depends_on),
            ports={"metrics_port": port},
            metrics_port=port,
            ready=tcp_ready(settings.bind_host, port),
            ready_within_s=WORKER_READY_WITHIN_S,
            stop_within_s=WORKER_STOP_WITHIN_S,
        )

    preparations = [command("topics", "topics", depends_on=BROKERS, runs_once=True)]
    if settings.keeps("clickhouse") or settings.keeps("timescale"):
        preparations.append(
            command("migrate", "migrate", depends_on=("clickhouse", "timescale"), runs_once=True)
        )
    served |= {part.name for part in preparations}
    venues: list[Part] = []
    for venue in settings.venues.names:
        if not settings.venues.live and is_simulated(venue):
            served.add(f"simulate-{venue}")
            simulator = worker(f"simulate-{venue}", *_simulate(settings, venue), depends_on=())
            ports = {**simulator.ports, "simulator_port": settings.simulator_port_of(venue)}
            venues.append(msgspec.structs.replace(simulator, ports=ports))
        if has_stream(venue):
            depends_on = ("topics", f"simulate-{venue}", *BROKERS)
            venues.append(worker(f"stream-{venue}", "stream", venue, depends_on=depends_on))
    planned = [*embedded, *preparations, *venues]
    stored = ("topics", "migrate", *BROKERS, "clickhouse")
    if settings.keeps("clickhouse"):
        planned.append(_as_sink(settings, worker("sink-clickhouse", "sink", "clickhouse", depends_on=stored)))
    if with_gateway:
        planned.append(_as_gateway(settings, worker("gateway", "gateway", depends_on=stored)))
    stores = tuple(name for name in ("topics", "migrate", *BROKERS, "timescale", "mailbox") if name in served)
    if with_schedule:
        planned.append(command("schedule", "schedule", "start", depends_on=stores))
    if with_airflow and not settings.airflow.url:
        planned += airflow_parts(settings, depends_on=stores, dag_metrics_port=next(metrics_ports))
    return tuple(planned)


def _as_sink(settings: Settings, part: Part) -> Part:
    """With a name in its consumer group."""
    instance = {"ETL_SINK_INSTANCE": sink_instance(settings.state_path)}
    return msgspec.structs.replace(part, environment={} if settings.sink.instance else instance)


def _as_gateway(settings: Settings, part: Part) -> Part:
    """Ready once it can be asked."""
    port = settings.gateway.port
    return msgspec.structs.replace(
        part, ports={**part.ports, "gateway_port": port}, ready=tcp_ready(settings.bind_host, port)
    )


def another(part: Part, name: str, metrics_port: int, bind_host: str, *words: str) -> Part:
    """One more worker or sink like ``part``, with ``words`` behind its command; it has no name in a consumer group."""
    return msgspec.structs.replace(
        part,
        name=name,
        command=(*part.command, *words),
        environment={},
        ports={"metrics_port": metrics_port},
        metrics_port=metrics_port,
        ready=tcp_ready(bind_host, metrics_port),
    )


def sink_instance(state_path: Path) -> str:
    """The sink's name in its consumer group: the same at each start, and no other's on any machine. Under it a sink
    that died is replaced when it starts again, in 1.6 s; without one Kafka waited 6.2 s for it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{socket.gethostname()}:{state_path}"))


def child_environment(settings: Settings) -> dict[str, str]:
    """The environment of every part: ours without its settings, then these settings, complete."""
    inherited = settings_module.other_environment()
    absolute = changed(settings, state_dir=str(settings.state_path))
    return {
        **inherited,
        **settings_module.as_environment(absolute),
        "PYTHONPATH": _with_source_root(inherited),
        "PYTHONUNBUFFERED": "1",
    }


def servers(settings: Settings) -> Iterator[Part]:
    """Those that have no URL, of what is kept."""
    if settings.transport.url == "redis":
        yield valkey_part(settings)
    elif not settings.transport.url and not settings.kafka.url:
        yield kafka_part(settings)
    if settings.keeps("clickhouse") and not settings.clickhouse.url:
        yield clickhouse_part(settings)
    if settings.keeps("timescale") and not settings.timescale.url:
        yield timescale_part(settings)
    if not settings.mail.url:
        yield mailbox_part(settings)


def _simulate(settings: Settings, venue: str) -> list[str]:
    """The words after ``etl``; the rate is the venue's even share."""
    words = ["simulate", venue, "--port", str(settings.simulator_port_of(venue))]
    if settings.simulator.rate:
        words += ["--rate", f"{settings.simulator.rate / len(settings.venues.names):.3f}"]
    if settings.venues.recordings_dir:
        words += ["--recordings", settings.venues.recordings_dir]
    return [*words, *(["--loop"] if settings.simulator.loop else [])]


def _with_source_root(environment: Mapping[str, str]) -> str:
    return os.pathsep.join(filter(None, (str(IMPORT_ROOT), environment.get("PYTHONPATH", ""))))
