"""Prometheus metrics of a stream worker: plain counters that the hot path adds to, read when somebody asks.

``docs/architecture.md`` lists the names. A counter here is a dict entry that a scrape turns into a sample, so that
counting an event costs 0.05 µs instead of 0.5.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from etl.model.records import GapKind, GapState, Kind, Severity
from etl.model.times import NS_PER_S
from etl.settings import Settings
from etl.telemetry.serve import counter, gauge, serve

RECONNECT_BUCKETS_S = tuple(round(0.01 * 1.25**step, 6) for step in range(56))
"""10 ms to 35 min in steps of a quarter."""
ACK_LATENCY_BUCKETS_S = tuple(round(0.0002 * 1.25**step, 7) for step in range(52))
"""0.2 ms to 17 s in steps of a quarter: percentiles read off them are within 12%."""


class WorkerCounts:
    """What one venue's worker has done since its start. Events close: read = published + quarantined + ignored."""

    def __init__(self) -> None:
        self.frames = 0
        self.events_read = 0
        self.published = [0] * (max(Kind) + 1)
        """By the kind's number; continuity's own gap records are not among them."""
        self.quarantined: Counter[tuple[str, Severity]] = Counter()
        """Severity HARD takes an event out; SOFT notes one that is published too."""
        self.ignored: Counter[str] = Counter()
        self.unknown_fields: Counter[tuple[str, str]] = Counter()
        """(event, member) of the frames looked at, a sample, where no venue file knows the member."""
        self.gaps: Counter[GapKind] = Counter()
        """Each once, when it was declared."""
        self.gap_states: Counter[GapState] = Counter()
        """Every state of every gap, as published."""
        self.repairs: Counter[GapState] = Counter()
        """What repairs made of gaps."""
        self.repaired_rows = 0
        self.repairs_put_off = 0
        self.repairs_pending: Callable[[], int] = lambda: 0
        self.market_is_open: Callable[[], bool] = lambda: True
        self.reconnects: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.silences: Counter[str] = Counter()
        """What was found of instruments that were silent beyond their pace."""
        self.observe_reconnect_s: Callable[[float], None] | None = None
        """Hears how long each loss of a connection lasted, until its successor was subscribed."""
        self.reads_paused = 0
        self.recovered = 0
        self.snapshots_requested = 0
        self.snapshots_saved = 0
        """Small holes in a book's changes that were tolerated instead."""
        self.last_receive_ns: dict[str, int] = {}
        self.silence_normal_until_ns: dict[tuple[str, Hashable], int] = {}
        """By channel and what watches it: until when its silence is its own pace, or proven by the venue's history."""
        self.connections_up: dict[str, bool] = {}

    @property
    def closed(self) -> bool:
        """The accounting closes exactly."""
        hard = sum(n for (_, severity), n in self.quarantined.items() if severity is Severity.HARD)
        return self.events_read == sum(self.published) + hard + self.ignored.total()


_Samples = dict[tuple[str, ...], float]


class _Family(NamedTuple):
    """A metric with its labels beside ``exchange``, and where its samples come from."""

    make: Callable[[str, str, list[str], _Samples], Metric]
    name: str
    text: str
    labels: tuple[str, ...]
    samples: Callable[[WorkerCounts], _Samples]


def _one(read: Callable[[WorkerCounts], float]) -> Callable[[WorkerCounts], _Samples]:
    return lambda counts: {(): read(counts)}


def _by_text(read: Callable[[WorkerCounts], Mapping[str, float]]) -> Callable[[WorkerCounts], _Samples]:
    # a copy: the worker counts on while a scrape reads
    return lambda counts: {(key,): n for key, n in dict(read(counts)).items()}


def _by_member(
    members: type[IntEnum], read: Callable[[WorkerCounts], Mapping[Any, float]]
) -> Callable[[WorkerCounts], _Samples]:
    """Of every member, 0 too: of a counter that is born above zero Prometheus does not see the first."""
    return lambda counts: {
        (member.name.lower(),): read(counts).get(member, 0) for member in members if member
    }


def _published(counts: WorkerCounts) -> _Samples:
    return {(kind.name.lower(),): counts.published[kind] for kind in Kind if counts.published[kind]}


def _quarantined(counts: WorkerCounts) -> _Samples:
    found = counts.quarantined.copy()
    return {(code, severity.name.lower()): n for (code, severity), n in found.items()}


def _silence_normal_until_s(counts: WorkerCounts) -> _Samples:
    """The soonest of all that watch the channel."""
    found: _Samples = {}
    for (channel, _), ns in counts.silence_normal_until_ns.copy().items():
        found[(channel,)] = min(ns / NS_PER_S, found.get((channel,), ns / NS_PER_S))
    return found


FAMILIES = (
    _Family(counter, "etl_frames", "Frames received", (), _one(lambda c: c.frames)),
    _Family(counter, "etl_events_read", "Events in them", (), _one(lambda c: c.events_read)),
    _Family(counter, "etl_events", "Events published", ("kind",), _published),
    _Family(
        counter,
        "etl_quarantined",
        "Events quarantined: hard instead of, soft beside publishing",
        ("code", "severity"),
        _quarantined,
    ),
    _Family(counter, "etl_ignored", "Events left aside on purpose", ("name",), _by_text(lambda c: c.ignored)),
    _Family(
        counter,
        "etl_unknown_fields",
        "Members of events that no venue file knows, in a sample of the frames",
        ("event", "field"),
        lambda c: {key: float(n) for key, n in c.unknown_fields.copy().items()},
    ),
    _Family(counter, "etl_gaps", "Gaps declared", ("gap_kind",), _by_member(GapKind, lambda c: c.gaps)),
    _Family(
        counter,
        "etl_gap_states",
        "States of gaps published: what each was declared as, and what it became",
        ("gap_state",),
        _by_member(GapState, lambda c: c.gap_states),
    ),
    _Family(
        counter,
        "etl_gap_repairs",
        "Gaps that a repair has settled, by what became of them",
        ("gap_state",),
        _by_member(GapState, lambda c: c.repairs),
    ),
    _Family(counter, "etl_repaired_rows", "Records that repairs gave", (), _one(lambda c: c.repaired_rows)),
    _Family(
        counter,
        "etl_repairs_put_off",
        "Gaps for which the queue of repairs had no room",
        (),
        _one(lambda c: c.repairs_put_off),
    ),
    _Family(
        gauge,
        "etl_repairs_pending",
        "Gaps that wait for their repair",
        (),
        _one(lambda c: c.repairs_pending()),
    ),
    _Family(
        counter,
        "etl_reconnects",
        "Connections ended, by reason",
        ("reason",),
        _by_text(lambda c: c.reconnects),
    ),
    _Family(
        counter,
        "etl_faults",
        "What the venue said of itself, by kind",
        ("kind",),
        _by_text(lambda c: c.faults),
    ),
    _Family(
        counter,
        "etl_silences",
        "Instruments that were silent beyond their pace, by what was found",
        ("verdict",),
        _by_text(lambda c: c.silences),
    ),
    _Family(
        counter,
        "etl_reads_paused",
        "Times that reading stopped for Kafka",
        (),
        _one(lambda c: c.reads_paused),
    ),
    _Family(
        counter,
        "etl_snapshots_requested",
        "Book snapshots asked for",
        (),
        _one(lambda c: c.snapshots_requested),
    ),
    _Family(
        counter,
        "etl_snapshots_saved",
        "Small holes in books tolerated instead of a snapshot",
        (),
        _one(lambda c: c.snapshots_saved),
    ),
    _Family(
        counter,
        "etl_recovered",
        "Messages published at start for frames in the raw topic",
        (),
        _one(lambda c: c.recovered),
    ),
    _Family(
        gauge,
        "etl_last_receive_timestamp_seconds",
        "Receipt of the newest event",
        ("channel",),
        lambda c: {(channel,): ns / NS_PER_S for channel, ns in c.last_receive_ns.copy().items()},
    ),
    _Family(
        gauge,
        "etl_silence_normal_until_timestamp_seconds",
        "Until when silence is the channel's own pace, or proven by the venue's history",
        ("channel",),
        _silence_normal_until_s,
    ),
    _Family(
        gauge,
        "etl_market_open",
        "1 while the market is in session, which is when silence means something",
        (),
        _one(lambda c: float(c.market_is_open())),
    ),
    _Family(
        gauge, "etl_connection_up", "1 while connected", ("connection",), _by_text(lambda c: c.connections_up)
    ),
)


class WorkerMetrics(Collector):
    """Serves ``counts`` of ``exchange``; ``pending_messages`` is asked at each scrape."""

    def __init__(self, exchange: str, counts: WorkerCounts, pending_messages: Callable[[], int]) -> None:
        self._exchange = exchange
        self._counts = counts
        self._pending_messages = pending_messages
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self.ack_latency_s = Histogram(
            "etl_ack_latency_seconds",
            "Receipt of a frame to Kafka's acknowledgement of its raw message, sampled",
            ["exchange"],
            registry=self.registry,
            buckets=ACK_LATENCY_BUCKETS_S,
        ).labels(exchange)
        counts.observe_reconnect_s = (
            Histogram(
                "etl_reconnect_seconds",
                "Loss of a connection to the next one's being subscribed",
                ["exchange"],
                registry=self.registry,
                buckets=RECONNECT_BUCKETS_S,
            )
            .labels(exchange)
            .observe
        )

    def serve(self, settings: Settings) -> None:
        """As ``serve``."""
        serve(self.registry, settings, settings.metrics.port)

    def collect(self) -> Iterator[Metric]:
        for family in FAMILIES:
            samples = {(self._exchange, *labels): n for labels, n in family.samples(self._counts).items()}
            yield family.make(family.name, family.text, ["exchange", *family.labels], samples)
        pending: _Samples = {(self._exchange,): float(self._pending_messages())}
        yield gauge(
            "etl_publisher_pending_messages", "Published, not yet acknowledged", ["exchange"], pending
        )
