"""``etl sink lake`` against a real broker: when it exports, what it has done at SIGTERM, and that it may be killed."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from etl import settings as settings_module
from etl.lake.catalog import Catalog
from etl.lake.storage import open_storage
from etl.settings import Settings, changed
from etl.settings.sections import Export
from etl.sinks.export import export
from etl.sinks.lake_service import LakeSink, Waiting, reason
from etl.telemetry.sink import SinkMetrics
from tests.support import stream
from tests.support.processes import etl_command

LIMITS = Export(flush_messages_max=100, flush_bytes_max=5_000, flush_after_s=60.0)
WITHIN_S = 60.0


def test_it_exports_by_messages_bytes_or_time_whichever_is_first() -> None:
    assert reason(Waiting(99, 4_999, 59.0), LIMITS) == ""
    assert reason(Waiting(100, 0, 0.0), LIMITS) == "messages"
    assert reason(Waiting(1, 5_000, 0.0), LIMITS) == "bytes"
    assert reason(Waiting(1, 10, 60.0), LIMITS) == "time"
    assert reason(Waiting(0, 0, 7_200.0), LIMITS) == ""


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(
        redis=True,
        topic_partitions=1,
        export_flush_messages_max=50,
        export_look_s=0.05,
        metrics_port=0,
    )


@contextmanager
def service(settings: Settings, crash_point: str = "") -> Iterator[subprocess.Popen[bytes]]:
    environment = {"PATH": "/usr/bin:/bin", **settings_module.as_environment(settings)}
    running = subprocess.Popen(etl_command("sink", "lake", crash_point=crash_point), env=environment)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


def rows(settings: Settings) -> list[int]:
    """Of the files of trades, before any view."""
    return [file.rows for file in Catalog(open_storage(settings)).read().of("trades")]


def until(settings: Settings, count: int) -> None:
    end_s = time.monotonic() + WITHIN_S
    while sum(rows(settings)) < count:
        assert time.monotonic() < end_s, f"{sum(rows(settings))} of {count} rows"
        time.sleep(0.05)


@pytest.mark.integration
def test_stopped_at_once_it_exports_and_brings_it_to_the_bucket_or_keeps_it_here(
    settings: Settings, tmp_path: Path
) -> None:
    stop = threading.Event()
    stop.set()
    far = changed(settings, lake_url=str(tmp_path / "far"))
    away = "s3://lake?scheme=http&endpoint_override=127.0.0.1:1&region=r"
    for number, (url, here, there) in enumerate(((away, [1], []), (far.lake.url, [], [1, 1]))):
        stream.publish(settings, stream.trade(number))
        LakeSink(changed(settings, lake_upload_url=url), SinkMetrics("lake")).run(stop)
        assert (rows(settings), rows(far)) == (here, there)


@pytest.mark.integration
def test_killed_again_and_again_and_beside_another_export_it_has_each_row_once(settings: Settings) -> None:
    def publish(first: int, end: int) -> None:
        stream.publish(
            settings, *(record for n in range(first, end) for record in (stream.trade(n), stream.quote(n)))
        )

    publish(0, 30)
    with service(settings, "between_lake_commits") as running:  # dies between two tables of its first export
        assert running.wait(WITHIN_S) == -signal.SIGKILL
    publish(30, 40)
    with service(settings) as running:
        until(settings, 40)  # what there was is exported at the start
        publish(40, 60)  # 40 messages wait
        time.sleep(0.5)
        assert sum(rows(settings)) == 40
        export(settings)
        publish(60, 90)
        until(settings, 90)
        publish(90, 97)
        running.kill()
    with service(settings) as running:
        until(settings, 97)
        publish(97, 100)
        running.send_signal(signal.SIGTERM)
        assert running.wait(WITHIN_S) == 0
    assert sum(rows(settings)) == 100
    state = Catalog(open_storage(settings)).read()
    assert sum(file.rows for file in state.of("quotes")) == 100
    assert export(settings).messages == 0
