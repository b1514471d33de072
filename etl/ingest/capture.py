"""One connection's frames onto the raw topic, before anything is made of them."""

from __future__ import annotations

from collections.abc import Sequence

from etl import crash
from etl.adapter.unknown_fields import UnknownFields
from etl.exchanges import known_fields
from etl.ingest.feed import Feed
from etl.model.records import Frame, Source
from etl.transports.frame_headers import FrameHeaders
from etl.transports.frames import raw_messages

SAMPLE_FRAMES = 64
"""The message of one frame in so many reports how long its acknowledgement took; behind it lies the crash point."""
SAMPLE_FRAMES_OF_FIELDS = 16 * SAMPLE_FRAMES
"""One frame in so many is looked at for members that the venue file does not know."""
CRASH_FLUSH_TIMEOUT_S = 30.0


class Capture:
    """All messages bear the connection's id as their key."""

    def __init__(self, feed: Feed, connection_id: str, endpoint: str, source: Source) -> None:
        self._feed = feed
        self._source = source
        self._publish = feed.publisher.publish
        self._topic = feed.raw_topic
        self._key = connection_id.encode()
        self._unknown_fields = UnknownFields(known_fields(feed.exchange), feed.counts.unknown_fields)
        self.move(endpoint)

    def move(self, endpoint: str) -> None:
        """What is read from now on comes from ``endpoint``."""
        self._headers = FrameHeaders(self._feed.exchange.name, endpoint, self._source)

    def publish_alone(self, frame: Frame, bytes_max: int) -> None:
        """``frame``, with the endpoint that it names, however large."""
        for value, headers in raw_messages(frame, bytes_max):
            self._publish(self._topic, self._key, value, headers)

    def publish(self, first: int, payloads: Sequence[bytes], receive_time_ns: int) -> None:
        """``payloads``, frames of one read that are numbered from ``first`` on, as one message."""
        last = first + len(payloads) - 1
        if len(payloads) == 1:
            value, headers = payloads[0], self._headers.of(first, receive_time_ns)
        else:
            value = b"".join(payloads)
            headers = self._headers.of_several(first, receive_time_ns, payloads)
        sampled = last - last % SAMPLE_FRAMES
        if sampled < first:
            self._publish(self._topic, self._key, value, headers)
            return
        self._publish(self._topic, self._key, value, headers, self._feed.acknowledged(receive_time_ns))
        self._reach_crash_point()
        looked_at = last - last % SAMPLE_FRAMES_OF_FIELDS
        if looked_at >= first:
            self._unknown_fields.look(payloads[looked_at - first])

    def _reach_crash_point(self) -> None:
        """For rigs: these frames in the raw topic, what was before them everywhere, and nothing of them published."""
        if crash.is_hooked(crash.BETWEEN_RAW_AND_NORMALIZED):
            self._feed.publisher.flush(CRASH_FLUSH_TIMEOUT_S)
            crash.reach(crash.BETWEEN_RAW_AND_NORMALIZED)
