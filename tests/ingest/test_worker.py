from __future__ import annotations

import os
import signal
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from etl import crash
from etl import settings as settings_module
from etl.embedded.kafka import kafka_part
from etl.ingest.capture import SAMPLE_FRAMES
from etl.model.records import Gap, GapKind, GapState, Trade
from etl.sequencing.gap import NO_EVENT_BEFORE
from etl.settings import Settings, changed
from etl.transports import kafka_clients
from etl.transports.frames import frames_of
from tests.support.processes import etl_command
from tests.support.servers import RunningPart, settings_on_free_ports
from tests.support.topics import eventually, messages, quarantined, records
from tests.support.venue_server import VenueServer, quote, trade, venue_server

pytestmark = pytest.mark.integration
STOP_WITHIN_S = 30.0
SYMBOLS = ("--symbols", "BTCUSDT,ETHUSDT")


class RunningWorker:
    """``etl stream binance`` in a process of its own."""

    def __init__(self, settings: Settings, log: Path, *options: str, crash_point: str = "") -> None:
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("ETL_")},
            **settings_module.as_environment(settings),
        }
        self._settings = settings
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                etl_command("stream", "binance", *SYMBOLS, *options, crash_point=crash_point),
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def metric(self, name: str) -> float:
        """Sum over the labels; 0 while the worker does not answer."""
        address = f"http://127.0.0.1:{self._settings.metrics.port}/metrics"
        try:
            text = urllib.request.urlopen(address, timeout=5).read().decode()
        except OSError:
            return 0.0
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_WITHIN_S)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server() -> Iterator[VenueServer]:
    with venue_server() as running:
        yield running


def wired(settings: Settings, server: VenueServer, **values: Any) -> Settings:
    """Settings whose simulator of Binance is ``server``."""
    metrics_port = settings_on_free_ports(Path(settings.state_dir)).metrics.port
    return changed(
        settings, venues="binance", simulator_port=server.port, metrics_port=metrics_port, **values
    )


@contextmanager
def worker(settings: Settings, *options: str, crash_point: str = "") -> Iterator[RunningWorker]:
    Path(settings.state_dir).mkdir(parents=True, exist_ok=True)
    running = RunningWorker(
        settings, Path(settings.state_dir) / "worker.log", *options, crash_point=crash_point
    )
    try:
        yield running
    except AssertionError as error:
        raise AssertionError(f"{error}\n{running.log.read_text()[-3000:]}") from None
    finally:
        if running.process.poll() is None:
            running.kill()


def payloads(settings: Settings) -> list[bytes]:
    """Of the frames on the raw topic."""
    return [frame.payload for frame in frames_of(messages(settings, settings.topics.raw))]


def trade_ids(settings: Settings) -> list[str]:
    return [record.trade_id for record in records(settings) if isinstance(record, Trade)]


def expected(*numbers: int) -> list[str]:
    return sorted(map(str, numbers))


@pytest.fixture
def settings(settings_with: Callable[..., Settings], server: VenueServer) -> Settings:
    return wired(settings_with(kafka=True), server)


def test_what_was_read_is_on_all_topics_after_a_clean_end(settings: Settings, server: VenueServer) -> None:
    with worker(settings) as running:
        server.send(*[trade(n) for n in range(1, 101)], '{"cut":', trade(101))
        eventually(lambda: running.metric("etl_frames_total") >= 102)
        assert running.stop() == 0
    assert sorted(trade_ids(settings)) == expected(*range(1, 102))
    raw = payloads(settings)
    assert [trade(n).encode() for n in range(1, 101)] == [p for p in raw if p and b"@trade" in p][:100]
    items = quarantined(settings)
    assert [(item.code, item.payload) for item in items if item.code == "undecodable"] == [
        ("undecodable", b'{"cut":')
    ]
    assert server.opened == 1


def test_a_cut_connection_is_opened_again_and_the_rest_arrives(
    settings: Settings, server: VenueServer
) -> None:
    with worker(settings) as running:
        server.send(trade(1), quote(1))
        eventually(lambda: running.metric("etl_frames_total") >= 2)
        server.cut()
        eventually(lambda: server.opened == 2 and server.connections == 1)
        server.send(trade(2))
        server.close()
        eventually(lambda: server.opened == 3 and server.connections == 1)
        server.send(trade(3))
        eventually(lambda: running.metric("etl_events_total") >= 4)
        assert running.stop() == 0
    assert sorted(trade_ids(settings)) == expected(1, 2, 3)
    gaps = [record for record in records(settings) if isinstance(record, Gap)]
    losses = [gap for gap in gaps if gap.gap_kind is GapKind.DISCONNECT]
    states = [(gap.from_sequence, gap.gap_state, bool(gap.to_time_ns)) for gap in of_channel(losses, "trade")]
    lost, found = (GapState.OPEN, False), (GapState.REPAIRED, True)
    assert states == [(2, *lost), (2, *found), (3, *lost), (3, *found), (4, *lost)]
    (quotes,) = of_channel(losses, "bookTicker")  # no quote has come since
    assert (quotes.from_time_ns > 0, quotes.to_time_ns) == (True, 0)
    silent = {gap.channel for gap in losses if gap.symbol == "BTC-USDT" and NO_EVENT_BEFORE in gap.flags}
    assert silent == {"depth@100ms", "kline_1m"}
    assert {gap.channel for gap in gaps if gap.gap_kind is GapKind.START} == {"trade", "bookTicker"}


def of_channel(gaps: list[Gap], channel: str) -> list[Gap]:
    return [gap for gap in gaps if gap.channel == channel and gap.venue_symbol == "BTCUSDT"]


def test_a_hole_across_a_kill_is_declared_by_the_next_start(settings: Settings, server: VenueServer) -> None:
    with worker(settings) as running:
        server.send(trade(1), quote(10), trade(2))
        eventually(lambda: running.metric("etl_events_total") >= 3)
        eventually(lambda: running.metric("etl_publisher_pending_messages") == 0)
        running.kill()
    eventually(lambda: server.connections == 0)
    with worker(settings) as running:
        server.send(trade(7), trade(8), quote(20), trade(9))
        eventually(lambda: running.metric("etl_events_total") >= 4)
        assert running.stop() == 0
    holes = [r for r in records(settings) if isinstance(r, Gap) and r.gap_kind is GapKind.DISCONNECT]
    spans = {(gap.channel, gap.from_sequence, gap.to_sequence) for gap in holes if gap.to_time_ns}
    assert spans == {("trade", 3, 6), ("bookTicker", 11, 19)}


def test_a_frame_on_the_raw_topic_whose_records_were_never_published_is_published_by_the_next_start(
    settings: Settings, server: VenueServer
) -> None:
    with worker(settings, "--channels", "trade", crash_point=crash.BETWEEN_RAW_AND_NORMALIZED) as running:
        server.send(*[trade(n) for n in range(1, 251)])
        assert running.process.wait(STOP_WITHIN_S) == -signal.SIGKILL
    taken = len(payloads(settings))
    assert payloads(settings) == [trade(n).encode() for n in range(1, taken + 1)]
    published = len(trade_ids(settings))
    assert published < SAMPLE_FRAMES <= taken  # the message with that frame, and nothing that came of it
    with worker(settings, "--channels", "trade") as running:
        eventually(lambda: server.opened == 2 and server.connections == 1)
        assert sorted(trade_ids(settings)) == expected(*range(1, taken + 1))
        assert running.metric("etl_recovered_total") == taken - published
        server.send(trade(251))
        eventually(lambda: running.metric("etl_events_total") >= 1)
        assert running.stop() == 0
    assert sorted(trade_ids(settings)) == expected(*range(1, taken + 1), 251)


def test_a_broker_that_refuses_for_good_ends_the_worker_with_one_line(
    settings: Settings, server: VenueServer
) -> None:
    larger_than_the_topic_takes = os.urandom(30_000).hex()
    narrow = changed(settings, message_bytes_max=1 << 20)
    with worker(narrow) as running:
        eventually(lambda: server.connections == 1)
        lower_message_bytes_max(settings, settings.topics.raw, 10_000)
        server.send(larger_than_the_topic_takes)
        assert running.process.wait(STOP_WITHIN_S) == 1
    lines = running.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("etl: ")] == [lines[-1]]
    assert settings.topics.raw in lines[-1]
    assert "Traceback" not in running.log.read_text()


def lower_message_bytes_max(settings: Settings, topic: str, bytes_max: int) -> None:
    entry = ConfigEntry("max.message.bytes", str(bytes_max), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = kafka_clients.admin(settings)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(timeout=STOP_WITHIN_S)


def test_while_kafka_is_down_reading_stops_and_nothing_is_lost(
    crashable: Callable[..., RunningPart], server: VenueServer
) -> None:
    kafka = crashable(kafka_part)
    settings = wired(kafka.settings, server, read_pause_messages=2_000, read_resume_messages=1_000)
    count = 30_000
    with worker(settings, "--channels", "trade") as running:
        server.send(trade(1))
        eventually(lambda: running.metric("etl_events_total") >= 1)
        kafka.kill()
        server.send_without_waiting(*[trade(n) for n in range(2, count + 1)])
        eventually(lambda: running.metric("etl_reads_paused_total") >= 1)
        taken = running.metric("etl_frames_total")
        assert taken < count
        assert running.metric("etl_publisher_pending_messages") < 2_000 + 20_000
        kafka.start()
        eventually(lambda: running.metric("etl_frames_total") >= count)
        assert running.stop() == 0
    assert sorted(trade_ids(settings)) == expected(*range(1, count + 1))
    gaps = [record for record in records(settings) if isinstance(record, Gap)]
    assert {gap.gap_kind for gap in gaps if not gap.reason.startswith("own: planned: ")} == {GapKind.START}
