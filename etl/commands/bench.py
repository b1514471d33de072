"""``etl bench NAME``: each benchmark starts its own servers and prints one JSON object as its last line."""

from __future__ import annotations

import signal

import typer

import etl.bench
from etl.lazy import lazy_group

SHARED = (
    "report",
    "postgresql",
    "rig",
    "crash_at",
    "decoding",
    "drains",
    "gateway_kills",
    "gateway_load",
    "gateway_ranges",
    "lake_research",
    "standard",
    "verdict",
)
app = typer.Typer(cls=lazy_group(etl.bench, without=SHARED), no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure; docs/benchmarks.md has what was measured."""
    # a benchmark that is ended stops what it started, as after Ctrl-C
    signal.signal(signal.SIGTERM, signal.default_int_handler)
