"""``etl sink STORE``: the long-running sinks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from etl.settings import Settings
    from etl.telemetry.sink import SinkMetrics

app = typer.Typer(help="Drain the topics into a store, for ever.", no_args_is_help=True)


@app.callback()
def sink() -> None:
    """Drain the topics into a store, for ever."""


@app.command()
def clickhouse() -> None:
    """Normalized and quarantined messages into ClickHouse, exactly once, until SIGTERM or Ctrl-C; metrics on
    ETL_METRICS_PORT."""
    from etl.sinks.clickhouse import ClickHouseSink

    settings, metrics, stop = _begun("clickhouse")
    ClickHouseSink(settings, metrics).run(stop)


@app.command()
def lake() -> None:
    """Normalized messages into the lake, exactly once, when many wait or an hour is over (ETL_EXPORT_FLUSH_…), and at
    SIGTERM or Ctrl-C what there is; metrics on ETL_METRICS_PORT."""
    from etl.sinks.lake_service import LakeSink

    settings, metrics, stop = _begun("lake")
    LakeSink(settings, metrics).run(stop)


def _begun(sink: str) -> tuple[Settings, SinkMetrics, threading.Event]:
    """Settings, metrics as they are served, and what a signal sets."""
    import gc
    import logging
    import signal

    from etl.settings import load
    from etl.sinks.collection import COLLECT_AFTER_OBJECTS
    from etl.telemetry.sink import SinkMetrics

    settings = load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = SinkMetrics(sink)
    metrics.serve(settings)
    return settings, metrics, stop
