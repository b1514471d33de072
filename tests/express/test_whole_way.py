"""Both ways through the whole loop: what lies on the topics is the same to the byte, in the same order."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.settings import make
from etl.telemetry.worker import WorkerCounts
from etl.transports.memory import Delivered, MemoryPublisher
from tests.support import fixtures


def life(path: Path, express: bool) -> tuple[dict[str, list[Delivered]], WorkerCounts, str]:
    """What a worker makes of a venue's fixture: topics, and counts."""
    exchange, publisher = fixtures.feed_of(path), MemoryPublisher()
    feed = Feed(make(recordings_dir="served", express=express), exchange, publisher)
    intake = open_intake(feed, exchange(), "c1", "wss://venue")
    for line in fixtures.read(path):
        frame = fixtures.frame_of(line, exchange.name, 1)
        for payload in (frame.payload, frame.payload[:-3] + b"\xc3\xa9", frame.payload):
            intake.take(payload, frame.receive_time_ns, frame.endpoint)
    feed.publish_gaps(feed.continuity.decide())
    publisher.poll()
    return publisher.delivered, feed.counts, feed.encoding


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_both_ways_give_the_same_messages_and_counts(path: Path) -> None:
    delivered, counts, encoding = life(path, True)
    plainly, plain_counts, plain = life(path, False)
    assert plain == "plain, as set"
    if encoding != "compiled":
        pytest.skip(encoding)
    assert delivered == plainly
    names = "frames", "events_read", "published", "quarantined", "ignored", "gaps", "gap_states"
    assert [getattr(counts, name) for name in names] == [getattr(plain_counts, name) for name in names]
