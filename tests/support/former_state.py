"""A small state of the whole platform, as a release leaves it: what ``tests/backup/test_upgrade.py`` upgrades.

    python -m tests.support.former_state FOLDER      by the code of that release, before the next one begins

Embedded servers are started, filled by a worker's own loop, by sink, load, export and archive, and backed up. The
committed one is of 2026-11-30 (main at 6ea98d1): ClickHouse's tables at 0023, TimescaleDB's at 0016, one message of the
raw topic for each frame; the code of today puts the frames of a read into one.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

from etl.adapter.contract import Subscription
from etl.backup.backup import back_up
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.timescale import timescale_part
from etl.embedded.valkey import valkey_part
from etl.exchanges.binance import Binance
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.positions import Positions
from etl.settings import Settings
from etl.sinks.export import archive, export
from etl.sinks.load import load_timescale
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.transports.memory import Delivered, MemoryPublisher
from etl.transports.transport import transport_of
from tests.support.clickhouse_sink import drain
from tests.support.servers import RunningPart, settings_on_free_ports
from tests.support.venue_server import quote, trade

FLUSH_S = 60.0
RECEIVED_NS = 1_790_000_000_500_000_000
SUBSCRIPTION = Subscription(("BTCUSDT", "ETHUSDT"), ("trade", "bookTicker"))
EVERYWHERE, IN_CLICKHOUSE, PUBLISHED, ON_THE_RAW_TOPIC, AFTER_THE_UPGRADE = 20, 30, 40, 45, 60
"""Of each symbol's trades, all stores have those up to the first, ClickHouse those up to the second, the normalized
topic those up to the third, the raw topic those up to the fourth."""
VALUES: dict[str, object] = {"venues": "binance", "topic_partitions": 1, "recordings_dir": "served"}
MARK = "backfill/binance/done.json"


def frames(start: int, end: int) -> list[str]:
    """Trades and quotes ``start`` + 1 to ``end`` of two symbols, as the venue sends them."""
    return [text for n in range(start + 1, end + 1) for text in (trade(n), quote(n), trade(n, "ETHUSDT"))]


class Life:
    """A worker's life without its sockets."""

    def __init__(self, settings: Settings, connection: str) -> None:
        self.settings = settings
        self.publisher = transport_of(settings).publisher()
        self.feed = Feed(settings, Binance, self.publisher)
        self._connection = connection

    def take(self, *texts: str, sequence: int = 0) -> None:
        """Publish what they give; ``sequence`` frames of the connection came before."""
        for delivered in self._given(texts, sequence):
            self._publish(*delivered)

    def crash(self, *texts: str, sequence: int) -> None:
        """They reach the raw topic alone."""
        raw = self.settings.topics.raw
        for topic, one in self._given(texts, sequence):
            if topic == raw:
                self._publish(topic, one)

    def _given(self, texts: tuple[str, ...], sequence: int) -> list[tuple[str, Delivered]]:
        memory = MemoryPublisher()
        feed = Feed(self.settings, Binance, memory, self.feed.continuity)
        intake = open_intake(feed, Binance(), f"{self._connection}{sequence:04}", "ws://venue/stream")
        intake.take_read([text.encode() for text in texts], RECEIVED_NS)
        memory.poll()
        return [(topic, one) for topic, several in memory.delivered.items() for one in several]

    def _publish(self, topic: str, one: Delivered) -> None:
        self.publisher.publish(topic, one.key, one.value, dict(one.headers) or None)

    def flush(self) -> None:
        self.publisher.flush(FLUSH_S)


def fill(settings: Settings) -> None:
    migrate_clickhouse(settings)
    migrate_timescale(settings)
    transport_of(settings).ensure_topics()
    life = Life(settings, "01former")
    life.take(*frames(0, EVERYWHERE), '{"cut":')
    life.flush()
    load_timescale(settings)
    export(settings)
    archive(settings)
    life.take(*frames(EVERYWHERE, IN_CLICKHOUSE), sequence=1)
    life.flush()
    drain(settings)
    life.take(*frames(IN_CLICKHOUSE, PUBLISHED), sequence=2)
    life.flush()
    Positions(settings, life.feed, life.publisher, [SUBSCRIPTION], lambda: ()).begin()
    life.crash(*frames(PUBLISHED, ON_THE_RAW_TOPIC), sequence=3)
    life.flush()
    mark = settings.state_path / MARK
    mark.parent.mkdir(parents=True)
    mark.write_bytes(b'{"chunk": 7}')


def main(folder: str) -> None:
    with contextlib.ExitStack() as stack:
        state = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = settings_on_free_ports(state, transport_url="redis", **VALUES)
        for make_part in (valkey_part, clickhouse_part, timescale_part):
            part = RunningPart(make_part(settings), settings)
            stack.callback(part.stop)
            part.start()
        fill(settings)
        back_up(settings, folder, (), print)


if __name__ == "__main__":
    main(sys.argv[1])
