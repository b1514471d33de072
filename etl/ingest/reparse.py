"""Frames of the raw topic through the loop again, as when they came: for replay and crash recovery."""

from __future__ import annotations

from etl.adapter.contract import Subscription
from etl.adapter.versions import parser_at
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.ingest.observer import Observer
from etl.model.records import Frame

CONNECTIONS_MAX = 1_024
"""Connections whose parser is kept at once; frames of one lie in one partition, in their order."""
FLUSH_TIMEOUT_S = 60.0


class Reparse:
    """An intake for each connection, with the parser of the protocol that was spoken at its first frame."""

    def __init__(
        self, feed: Feed, observer: Observer, pending_max: int, subscription: Subscription | None = None
    ) -> None:
        self._feed = feed
        self._observer = observer
        self._pending_max = pending_max
        self._subscription = subscription
        self._intakes: dict[str, Intake] = {}

    def parse(self, frame: Frame) -> bool:
        """Whether it was waited until the publisher had everything, for it was ``pending_max`` messages behind.

        Raises ``TransportError``."""
        intake = self._intakes.get(frame.connection_id) or self._open(frame)
        intake.parse(frame)
        publisher = self._feed.publisher
        publisher.poll()
        if publisher.pending_messages <= self._pending_max:
            return False
        publisher.flush(FLUSH_TIMEOUT_S)
        return True

    def _open(self, frame: Frame) -> Intake:
        if len(self._intakes) >= CONNECTIONS_MAX:
            self._intakes.clear()
        intake = self._intakes[frame.connection_id] = open_intake(
            self._feed,
            parser_at(self._feed.exchange, frame.receive_time_ns)(),
            frame.connection_id,
            frame.endpoint,
            frame.source,
            self._subscription,
            self._observer,
        )
        return intake
