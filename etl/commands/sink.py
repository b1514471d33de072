"""``etl sink STORE``: the long-running sinks."""

from __future__ import annotations

import typer

COLLECT_AFTER_OBJECTS = 100_000
"""Messages come 5,000 at once and go again, none of them in a cycle: after 700 objects, the default, the collector
walks them over and over, for a tenth to a quarter of the sink's CPU."""

app = typer.Typer(help="Drain the topics into a store, for ever.", no_args_is_help=True)


@app.callback()
def sink() -> None:
    """Drain the topics into a store, for ever."""


@app.command()
def clickhouse() -> None:
    """Normalized and quarantined messages into ClickHouse, exactly once, until SIGTERM or Ctrl-C; metrics on
    ETL_METRICS_PORT."""
    import gc
    import logging
    import signal
    import threading

    from etl.settings import load
    from etl.sinks.clickhouse import ClickHouseSink
    from etl.telemetry.sink import SinkMetrics

    settings = load()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    metrics = SinkMetrics("clickhouse")
    metrics.serve(settings)
    ClickHouseSink(settings, metrics).run(stop)
