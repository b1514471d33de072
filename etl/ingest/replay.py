"""Raw frames again: those of a time range through today's parser and rules, into the topic or straight into ClickHouse.

They lie in the raw topic, and where its retention has taken them, in the archive of the lake. Records keep their
identity, so what a store already has stays as it is. Gaps are not derived again: they are on the normalized topic,
with what became of them, and no frame says that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator

import msgspec

from etl import exchanges
from etl.ingest.feed import Feed
from etl.ingest.observer import Observer
from etl.ingest.reparse import Reparse
from etl.lake import raw_frames
from etl.model.records import Frame, Gap, Quarantined, Record, Source
from etl.reference.instruments import with_known
from etl.sequencing.continuity import Continuity
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.stores.clickhouse_http import ClickHouse, connect
from etl.transports.frame_headers import HEADER_EXCHANGE
from etl.transports.frames import frames_of
from etl.transports.publisher import Acknowledged, Headers, Publisher
from etl.transports.transport import read_topic, transport_of

FLUSH_WAIT_S = 60.0

Progress = Callable[[int, int], None]
"""Called now and then with the frames read and the records given so far."""


def replay(
    settings: Settings,
    venues: Collection[str],
    from_ns: int,
    to_ns: int,
    *,
    archived: bool = False,
    into_clickhouse: bool = False,
    progress: Progress = lambda frames, records: None,
) -> tuple[int, int]:
    """Parse again what was received in [from_ns, to_ns); the frames read and the records given.

    Raises ``TransportError``, ``StoreError``, ``RangeLost``.
    """
    if not into_clickhouse:
        return _replay(
            settings, transport_of(settings).publisher(), venues, from_ns, to_ns, archived, progress
        )
    with connect(settings, internal=True) as client:
        writer = _ClickHouseWriter(client, settings.sink.batch_rows_max)
        return _replay(settings, writer, venues, from_ns, to_ns, archived, progress)


def _replay(
    settings: Settings,
    publisher: Publisher,
    venues: Collection[str],
    from_ns: int,
    to_ns: int,
    archived: bool,
    progress: Progress,
) -> tuple[int, int]:
    frames_count = records_count = 0
    for name in venues:
        exchange = with_known(settings, exchanges.load(name))
        feed = Feed(settings, exchange, publisher, Continuity(exchange, declares_start=False))
        reparse = Reparse(feed, _RecordsAlone(), settings.ingest.read_pause_messages)
        for frame in frames_received(settings, name, from_ns, to_ns, archived):
            frames_count += 1
            if reparse.parse(msgspec.structs.replace(frame, source=Source.REPLAY)):
                progress(frames_count, records_count + sum(feed.counts.published))
        records_count += sum(feed.counts.published)
    publisher.flush(FLUSH_WAIT_S)
    return frames_count, records_count


class _RecordsAlone(Observer):
    """Gaps and quarantined items are on their topics already."""

    listens = True

    def admits(self, event: Record | Quarantined) -> bool:
        return not isinstance(event, Gap | Quarantined)


class _ClickHouseWriter:
    """A publisher whose broker is ClickHouse: batches of messages, each with a token made of its own bytes, so that
    a replay that is killed and run again repeats nothing within the server's window."""

    def __init__(self, client: ClickHouse, rows_max: int) -> None:
        self._client = client
        self._rows_max = rows_max
        self._batch: list[bytes] = []

    @property
    def pending_messages(self) -> int:
        return len(self._batch)

    @property
    def is_full(self) -> bool:
        return False

    def publish(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: Headers | None = None,
        acknowledged: Acknowledged | None = None,
    ) -> None:
        self._batch.append(value)

    def poll(self) -> None:
        if len(self._batch) >= self._rows_max:
            self.flush(FLUSH_WAIT_S)

    def flush(self, timeout_s: float) -> None:
        if not self._batch:
            return
        body = delimited(self._batch)
        token = f"replay-{hashlib.sha256(body).hexdigest()}"
        self._client.insert(batch_path(MARKET_DATA, token, len(self._batch)), body)
        self._batch = []


def frames_received(
    settings: Settings, exchange: str, from_ns: int, to_ns: int, archived: bool
) -> Iterator[Frame]:
    if archived:
        yield from raw_frames.frames(settings, exchange, from_ns, to_ns)
        return
    own = (HEADER_EXCHANGE, exchange.encode())
    messages = read_topic(settings, settings.topics.raw, "etl-replay")
    of_venue = (message for message in messages if own in (message.headers() or ()))
    for frame in frames_of(of_venue, "replay"):
        if from_ns <= frame.receive_time_ns < to_ns:
            yield frame
