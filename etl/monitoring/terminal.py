"""What runs, as text: tables for a terminal, one line for a log."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table

from etl.embedded.status import DONE, FAILED, RESTARTING, RUNNING, STARTING, STOPPED, WAITING, PartState
from etl.model.times import NS_PER_S
from etl.monitoring.processes import STREAMING, Snapshot

_STYLE_BY_STATE = {RUNNING: "green", STREAMING: "green", DONE: "dim", FAILED: "bold red"}


def tables(parts: Iterable[PartState], snapshot: Snapshot) -> RenderableType:
    """Venues, sinks and parts, one table each."""
    return Group(_venue_table(snapshot), _sink_table(snapshot), _part_table(parts))


def line(parts: Iterable[PartState], snapshot: Snapshot) -> str:
    """Everything that moves, in one line."""
    venues = (
        f"{name} {venue.state} {_rate(venue.events_per_s)} events/s age {_age(venue.age_s)} gaps {venue.gaps} "
        f"quarantined {venue.quarantined}"
        for name, venue in snapshot.venues.items()
    )
    sinks = (
        f"{name} {sink.state} backlog {sink.backlog:,} {_rate(sink.rows_per_s)} rows/s"
        for name, sink in snapshot.sinks.items()
    )
    return " | ".join([*venues, *sinks, *waits(parts, time.time_ns())])


def waits(parts: Iterable[PartState], now_ns: int) -> list[str]:
    """What is not there yet: parts that start, and since when; those that wait for others; those that ended."""
    by_state: dict[str, list[str]] = {}
    for part in parts:
        since = (
            f" ({max(now_ns - part.since_ns, 0) // NS_PER_S} s)"
            if part.state in (STARTING, RESTARTING)
            else ""
        )
        by_state.setdefault(part.state, []).append(f"{part.name}{since}")
    said = (
        ("waits for", [*by_state.get(STARTING, ()), *by_state.get(RESTARTING, ())]),
        ("then", by_state.get(WAITING, [])),
        ("not running:", [*by_state.get(STOPPED, ()), *by_state.get(FAILED, ())]),
    )
    return [f"{words} {', '.join(names)}" for words, names in said if names]


def _venue_table(snapshot: Snapshot) -> Table:
    table = _table("venue", "state", "events/s", "last event", "events", "gaps", "quarantined", "reconnects")
    for name, venue in snapshot.venues.items():
        table.add_row(
            name,
            _state(venue.state),
            _rate(venue.events_per_s),
            _age(venue.age_s),
            *(f"{number:,}" for number in (venue.events, venue.gaps, venue.quarantined, venue.reconnects)),
        )
    return table


def _sink_table(snapshot: Snapshot) -> Table:
    table = _table("sink", "state", "rows/s", "rows", "backlog")
    for name, sink in snapshot.sinks.items():
        table.add_row(name, _state(sink.state), _rate(sink.rows_per_s), f"{sink.rows:,}", f"{sink.backlog:,}")
    return table


def _part_table(parts: Iterable[PartState]) -> Table:
    table = _table("part", "state", "pid", "MiB", "restarts", "last end")
    memory_bytes = 0
    for part in parts:
        memory_bytes += part.memory_bytes
        table.add_row(
            part.name,
            _state(part.state),
            str(part.pid or ""),
            f"{part.memory_bytes >> 20:,}" if part.memory_bytes else "",
            str(part.restarts or ""),
            part.last_exit if part.restarts else "",
        )
    table.add_row("[dim]all", "", "", f"[dim]{memory_bytes >> 20:,}", "", "")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < 2 else "right")
    return table


def _state(state: str) -> str:
    style = _STYLE_BY_STATE.get(state, "yellow")
    return f"[{style}]{state}[/]"


def _rate(per_s: float | None) -> str:
    return "-" if per_s is None else f"{per_s:,.0f}"


def _age(age_s: float | None) -> str:
    return "-" if age_s is None else f"{max(0.0, age_s):.1f} s"
