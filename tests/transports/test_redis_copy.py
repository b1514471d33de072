"""Topics of a real Kafka into a real Redis: everything, exactly, though the copy was killed on its way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from etl.errors import TransportError, UsageError
from etl.settings import Settings, as_environment, changed, other_environment
from etl.transports.group import Place
from etl.transports.partitions import partition_of
from etl.transports.redis_copy import Copied, copy_topics
from etl.transports.transport import read_topic, transport_of
from tests.transports.test_contract import Reading, polled

pytestmark = pytest.mark.integration

MESSAGES = 30_000
FLUSH_S = 60.0
TIMEOUT_S = 30.0


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    made = settings_with(kafka=True, topic_partitions=3)
    transport_of(made).ensure_topics()
    return made


@pytest.fixture
def target(settings: Settings, redis_url: str) -> Settings:
    return changed(settings, transport_url=redis_url)


def publish(settings: Settings, first: int, end: int) -> None:
    """Into every topic; the compacted ones get keys again, and a tombstone."""
    publisher, topics = transport_of(settings).publisher(), settings.topics
    for number in range(first, end):
        key, value = b"exchange:S%d" % (number % 17), b"%d" % number * 20
        headers = {"n": b"%d" % number, "empty": b""} if number % 3 else None
        publisher.publish(topics.raw, key, value, headers)
        if number % 10 == 0:
            publisher.publish(topics.normalized, key, value)
        if number % 1_000 == 0:
            publisher.publish(topics.quarantine, key, value)
            publisher.publish(topics.positions, b"k%d" % (number % 7), value)
            publisher.publish(topics.statistics, key, None if number % 5_000 == 0 else value)
        if number % 500 == 0:
            publisher.poll()
    publisher.flush(FLUSH_S)


def held(settings: Settings, topic: str) -> list[tuple[object, ...]]:
    """All that a reader can see of every message."""
    return [
        (m.partition, m.offset, m.key, m.value, list(m.headers() or ()), m.time_ms, m.leader_epoch)
        for m in read_topic(settings, topic, "tests")
    ]


def newest(messages: list[tuple[object, ...]]) -> dict[object, tuple[object, ...]]:
    return {message[2]: message for message in messages}


def names(settings: Settings) -> tuple[str, ...]:
    topics = settings.topics
    return topics.raw, topics.normalized, topics.quarantine, topics.statistics, topics.positions


def copied(settings: Settings, target: Settings) -> Copied:
    return copy_topics(settings, target, lambda *_: None)


def killed_midway(settings: Settings, target: Settings) -> int:
    """``etl transport copy``, killed after it told of its first messages; how many it had told of."""
    words = "transport", "copy", "--from", f"kafka://{settings.kafka_bootstrap}", "--to", target.transport.url
    process = subprocess.Popen(
        [sys.executable, "-m", "etl", *words],
        env={**other_environment(), **as_environment(settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return int(line.partition(": ")[2].split()[0].replace(",", ""))


def test_a_copy_is_exact_though_it_was_killed_and_the_source_went_on(
    settings: Settings, target: Settings
) -> None:
    publish(settings, 0, MESSAGES)
    topic, group = settings.topics.raw, f"group-{settings.topics.raw}"
    member = Reading(transport_of(settings), group, topic)
    polled([member], lambda: len(member.places) == 3)
    place = Place(topic, 1, 1_234, '{"end":1300,"start":1234}')
    member.group.commit_now([place])
    source_cluster = member.group.cluster_id(topic)

    assert 0 < killed_midway(settings, target) < MESSAGES
    with pytest.raises(TransportError, match="is not whole: finish `etl transport copy`"):
        transport_of(target).ensure_topics()
    with pytest.raises(TransportError, match="there is none"):
        held(target, topic)
    first = copied(settings, target)
    publish(settings, MESSAGES, MESSAGES + 1_000)
    second = copied(settings, target)
    assert 0 < second.messages <= 1_000 + 100 + 3
    assert (first.left_out, second.left_out) == (0, 0)

    for name in names(settings)[:3]:
        assert held(target, name) == held(settings, name), name
    for name in names(settings)[3:]:  # the broker compacts when it likes
        assert newest(held(target, name)) == newest(held(settings, name)), name
    sides = [transport_of(one) for one in (settings, target)]
    ends = [side.ends(names(settings), TIMEOUT_S) for side in sides]
    for name in names(settings):
        assert (ends[1][name].topic_id, ends[1][name].offsets) == (
            ends[0][name].topic_id,
            ends[0][name].offsets,
        )
    for side in sides:
        (kept,) = [one for one in side.commits([topic], TIMEOUT_S)[group] if one.partition == 1]
        assert (kept.offset, kept.metadata) == (1_234, place.metadata)
    member.commits_at_end = False
    member.group.close()

    other = Reading(transport_of(target), group, topic)
    polled([other], lambda: len(other.places) == 3)
    assert other.group.cluster_id(topic) == source_cluster  # a batch keeps the token under which it was sent
    other.commits_at_end = False
    other.group.close()


def test_what_is_published_after_the_copy_goes_where_the_source_would_have_put_it(
    settings: Settings, target: Settings
) -> None:
    publish(settings, 0, 2_000)
    copied(settings, target)
    publish(target, 2_000, 3_000)
    with pytest.raises(TransportError, match="it has gone on by itself"):
        copied(settings, target)
    publish(settings, 2_000, 3_000)
    place = [message[:4] for message in held(target, settings.topics.raw)]
    assert place == [message[:4] for message in held(settings, settings.topics.raw)]


def test_a_topic_of_another_origin_is_not_written_over(settings: Settings, target: Settings) -> None:
    transport_of(target).ensure_topics()
    with pytest.raises(TransportError, match="is there already, and another one"):
        copied(settings, target)
    with pytest.raises(UsageError, match="--to must be redis"):
        copied(target, settings)


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_partition_that_kafkas_own_tests_give_it(key: bytes, hashed: int) -> None:
    assert partition_of(key, 1 << 31) == hashed & 0x7FFFFFFF
    assert partition_of(key, 12) == (hashed & 0x7FFFFFFF) % 12
