"""What runs and how it does, read from the parts' Prometheus metrics: ``etl up``, ``etl status``, the monitor.

``take`` reads once; ``between`` gives the rates from two readings. Counters are of the process that serves them
and begin again at 0 when it is started again: a rate is then unknown, not negative.
"""

from __future__ import annotations

import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import isinf

import msgspec
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from etl.embedded.status import FAILED, RESTARTING, RUNNING, STARTING, WAITING, PartState
from etl.model.times import NS_PER_S
from etl.settings import Settings

SCRAPE_TIMEOUT_S = 2.0
SCRAPES_AT_ONCE_MAX = 8

STREAMING, CONNECTING = "streaming", "connecting"
NOT_RUNNING = frozenset({WAITING, STARTING, RESTARTING, FAILED})
"""States of a part that will run again; one that was stopped on purpose will not."""

Samples = Mapping[str, Sequence[Sample]]
"""Samples by their full name, ``etl_frames_total``."""


class VenueStatus(Struct, kw_only=True):
    """Counters since the worker's start. ``pending`` messages are not acknowledged yet, ``repairs_pending`` gaps not
    repaired. ``age_s`` is the age of the last event, ``None`` before the first."""

    state: str
    frames: int = 0
    events: int = 0
    quarantined: int = 0
    ignored: int = 0
    gaps: int = 0
    reconnects: int = 0
    pending: int = 0
    repairs_pending: int = 0
    age_s: float | None = None
    events_per_s: float | None = None


class SinkStatus(Struct, kw_only=True):
    """``backlog`` counts messages on the topic that the sink has not written yet."""

    state: str
    rows: int = 0
    backlog: int = 0
    rows_per_s: float | None = None


class Snapshot(Struct, kw_only=True):
    taken_ns: int
    venues: dict[str, VenueStatus]
    sinks: dict[str, SinkStatus]


def take(parts: Iterable[PartState], host: str) -> Snapshot:
    """Read every running part's metrics; a part that does not answer counts as ``connecting``."""
    states = {part.name: part.state for part in parts}
    samples = scrape_all(
        [part.metrics_port for part in parts if part.metrics_port and part.state == RUNNING], host
    )
    venues = {
        name.removeprefix("stream-"): _venue(name.removeprefix("stream-"), state, samples)
        for name, state in states.items()
        if name.startswith("stream-")
    }
    sinks = {
        name.removeprefix("sink-"): _sink(name.removeprefix("sink-"), state, samples)
        for name, state in states.items()
        if name.startswith("sink-")
    }
    return Snapshot(taken_ns=time.time_ns(), venues=venues, sinks=sinks)


def between(before: Snapshot, now: Snapshot) -> Snapshot:
    """``now`` with its rates filled in."""
    seconds = (now.taken_ns - before.taken_ns) / NS_PER_S

    def rate(earlier: int | None, later: int) -> float | None:
        return None if earlier is None or later < earlier or seconds <= 0 else (later - earlier) / seconds

    return Snapshot(
        taken_ns=now.taken_ns,
        venues={
            name: msgspec.structs.replace(
                venue, events_per_s=rate(getattr(before.venues.get(name), "events", None), venue.events)
            )
            for name, venue in now.venues.items()
        },
        sinks={
            name: msgspec.structs.replace(
                sink, rows_per_s=rate(getattr(before.sinks.get(name), "rows", None), sink.rows)
            )
            for name, sink in now.sinks.items()
        },
    )


def platform(settings: Settings) -> tuple[Samples, list[str]]:
    """The samples of every process, and who should have answered and did not: ``part on host:port``.

    The supervisor's metrics lead to those of its parts; without one, ``metrics_addresses`` names them.
    """
    found: dict[str, list[Sample]] = defaultdict(list)
    if settings.metrics.addresses:
        names = {address: address for address in settings.metrics.addresses}
    else:
        supervisor = scrape(settings.bind_host, settings.metrics.port)
        if not supervisor:
            return {}, [f"etl up on {settings.bind_host}:{settings.metrics.port}"]
        found.update({name: list(those) for name, those in supervisor.items()})
        running = (one for one in found["etl_part_info"] if one.labels["state"] == RUNNING)
        parts = {one.labels["metrics_port"]: one.labels["part"] for one in running}
        served = sorted((port, part) for port, part in parts.items() if port != "0")
        names = {(at := f"{settings.bind_host}:{port}"): f"{part} on {at}" for port, part in served}
    silent = []
    with ThreadPoolExecutor(SCRAPES_AT_ONCE_MAX) as pool:
        for name, samples in zip(names.values(), pool.map(_scrape_address, names), strict=True):
            if not samples:
                silent.append(name)
            for family, those in samples.items():
                found[family].extend(those)
    return found, silent


def _scrape_address(address: str) -> Samples:
    host, _, port = address.rpartition(":")
    return scrape(host, int(port))


def scrape_all(ports: Sequence[int], host: str) -> Samples:
    """Every part's samples together; their labels say whose they are."""
    found: dict[str, list[Sample]] = defaultdict(list)
    with ThreadPoolExecutor(SCRAPES_AT_ONCE_MAX) as pool:
        for samples in pool.map(lambda port: scrape(host, port), ports):
            for name, those in samples.items():
                found[name].extend(those)
    return found


def scrape(host: str, port: int) -> Samples:
    """One process's samples; none if it does not answer, or not with metrics."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=SCRAPE_TIMEOUT_S) as answer:
            text = answer.read().decode()
    except OSError:
        return {}
    found: dict[str, list[Sample]] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name].append(sample)
    except ValueError:  # another server has this port
        return {}
    return found


def quantile(samples: Samples, histogram: str, q: float, **labels: str) -> float | None:
    """The ``q`` quantile of a histogram over all series with ``labels``, in a straight line between the bounds of its
    bucket, as Prometheus's ``histogram_quantile`` has it; infinite beyond the last bound.

    ``None`` before the first observation.
    """
    counts: dict[float, float] = defaultdict(float)
    for sample in _having(samples, f"{histogram}_bucket", labels):
        counts[float(sample.labels["le"])] += sample.value
    bounds = sorted(counts)
    rank = q * counts[bounds[-1]] if bounds else 0.0
    low, below = 0.0, 0.0
    for bound in bounds:
        inside = counts[bound] - below
        if inside and counts[bound] >= rank:
            return bound if isinf(bound) else low + (bound - low) * (rank - below) / inside
        low, below = bound, counts[bound]
    return None


def total(samples: Samples, name: str, **labels: str) -> int:
    return int(sum(sample.value for sample in _having(samples, name, labels)))


def _having(samples: Samples, name: str, labels: Mapping[str, str]) -> Iterable[Sample]:
    return (
        sample
        for sample in samples.get(name, ())
        if all(sample.labels.get(label) == value for label, value in labels.items())
    )


def unknown_fields(samples: Samples) -> dict[str, dict[str, float]]:
    """Venue → ``event.member`` that its file does not know → in how many of the events looked at, by all workers."""
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for sample in samples.get("etl_unknown_fields_total", ()):
        name, by_field = (
            f"{sample.labels['event']}.{sample.labels['field']}",
            found[sample.labels["exchange"]],
        )
        by_field[name] = by_field.get(name, 0.0) + sample.value
    return found


def _venue(exchange: str, part_state: str, samples: Samples) -> VenueStatus:
    up = total(samples, "etl_connection_up", exchange=exchange) > 0
    events = total(samples, "etl_events_total", exchange=exchange)
    newest = max(
        (s.value for s in _having(samples, "etl_last_receive_timestamp_seconds", {"exchange": exchange})),
        default=0.0,
    )
    return VenueStatus(
        state=part_state if part_state != RUNNING else STREAMING if up and events else CONNECTING,
        frames=total(samples, "etl_frames_total", exchange=exchange),
        events=events,
        quarantined=total(samples, "etl_quarantined_total", exchange=exchange),
        ignored=total(samples, "etl_ignored_total", exchange=exchange),
        gaps=total(samples, "etl_gaps_total", exchange=exchange),
        reconnects=total(samples, "etl_reconnects_total", exchange=exchange),
        pending=total(samples, "etl_publisher_pending_messages", exchange=exchange),
        repairs_pending=total(samples, "etl_repairs_pending", exchange=exchange),
        age_s=max(0.0, time.time() - newest) if newest else None,
    )


def _sink(name: str, part_state: str, samples: Samples) -> SinkStatus:
    return SinkStatus(
        state=part_state,
        rows=total(samples, "etl_sink_rows_total", sink=name),
        backlog=total(samples, "etl_sink_backlog_messages", sink=name),
    )
