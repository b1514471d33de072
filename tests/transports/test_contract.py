"""What every transport promises to those above it; Kafka and Redis are held to it with real servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from etl.errors import RangeLost, TransportError
from etl.settings import Settings
from etl.transports.group import Group, Place
from etl.transports.memory_transport import MemoryTransport
from etl.transports.message import Message
from etl.transports.ranges import Bounds, Overtaken
from etl.transports.redis_client import Connection, parse_address
from etl.transports.redis_log import keys_of
from etl.transports.transport import Transport, transport_of
from tests.support.topics import delete_before, eventually

pytestmark = pytest.mark.integration

PARTITIONS = 4
MESSAGES = 1_000
FLUSH_S = 30.0
TIMEOUT_S = 10.0
SESSION_MS = 6_000
"""Kafka's broker takes no less."""


@pytest.fixture(params=["kafka", "redis", "memory"])
def transport_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(transport_name: str, settings_with: Callable[..., Settings]) -> Settings:
    """Topics of its own."""
    asked = {} if transport_name == "memory" else {transport_name: True}
    return settings_with(**asked, topic_partitions=PARTITIONS, sink_session_timeout_ms=SESSION_MS)


@pytest.fixture
def transport(transport_name: str, settings: Settings) -> Transport:
    """Whose topics exist."""
    made: Transport = MemoryTransport(settings) if transport_name == "memory" else transport_of(settings)
    made.ensure_topics()
    return made


def publish(transport: Transport, topic: str, numbers: Sequence[int]) -> None:
    publisher = transport.publisher()
    for number in numbers:
        publisher.publish(topic, b"k%d" % (number % 7), b"%d" % number, {"n": b"%d" % number})
    publisher.flush(FLUSH_S)


def read(transport: Transport, topic: str) -> Iterator[Message]:
    with transport.reader(topic, "tests") as reader:
        yield from reader.read_all()


def let_go_before(settings: Settings, transport: Transport, topic: str, partition: int, offset: int) -> None:
    """As retention does."""
    if isinstance(transport, MemoryTransport):
        transport.topic(topic).logs[partition].let_go(offset)
    else:
        delete_before(settings, topic, partition, offset)


def by_partition(messages: Iterator[Message]) -> dict[int, list[Message]]:
    found: dict[int, list[Message]] = {}
    for message in messages:
        found.setdefault(message.partition, []).append(message)
    return found


def fullest(transport: Transport, topic: str) -> tuple[int, list[Message]]:
    """The partition that has most messages, and these."""
    return max(by_partition(read(transport, topic)).items(), key=lambda one: len(one[1]))


def test_a_reader_has_every_message_as_it_was_published_at_offsets_that_follow(
    settings: Settings, transport: Transport
) -> None:
    began_ms = int(time.time() * 1_000)
    publish(transport, settings.topics.raw, range(MESSAGES))
    found = by_partition(read(transport, settings.topics.raw))
    assert len(found) > 1
    for partition, messages in found.items():
        assert [message.offset for message in messages] == list(range(len(messages)))
        numbers = [int(message.value or b"") for message in messages]
        assert numbers == sorted(numbers)
        assert [message.key for message in messages] == [b"k%d" % (number % 7) for number in numbers]
        assert [list(message.headers() or ()) for message in messages] == [
            [("n", b"%d" % n)] for n in numbers
        ]
        assert {(message.topic, message.partition) for message in messages} == {
            (settings.topics.raw, partition)
        }
        assert all(began_ms <= message.time_ms <= time.time() * 1_000 for message in messages)
    assert sorted(int(m.value or b"") for messages in found.values() for m in messages) == list(
        range(MESSAGES)
    )


@pytest.mark.parametrize("size", [1, 7, 5_000])
def test_a_range_is_exactly_what_was_asked_for_and_the_same_again(
    settings: Settings, transport: Transport, size: int
) -> None:
    publish(transport, settings.topics.raw, range(MESSAGES))
    partition, messages = fullest(transport, settings.topics.raw)
    start, end = len(messages) // 3, len(messages) - 5
    with transport.reader(settings.topics.raw, "tests") as reader:
        for _ in range(2):
            lists = list(reader.read(partition, start, end, size))
            assert max(map(len, lists)) <= size
            assert [m.value for found in lists for m in found] == [m.value for m in messages[start:end]]
        assert list(reader.read(partition, end, end, size)) == []


def test_a_range_that_is_gone_or_not_there_yet_is_an_error(settings: Settings, transport: Transport) -> None:
    publish(transport, settings.topics.raw, range(MESSAGES))
    partition, messages = fullest(transport, settings.topics.raw)
    end = len(messages)
    let_go_before(settings, transport, settings.topics.raw, partition, 50)
    with transport.reader(settings.topics.raw, "tests") as reader:
        assert reader.bounds()[partition] == Bounds(50, end)
        with pytest.raises(Overtaken) as overtaken:
            list(reader.read(partition, 49, end, 100))
        assert (overtaken.value.start, overtaken.value.low) == (49, 50)
        with pytest.raises(RangeLost, match=f"ends at {end} and had {end + 1}"):
            list(reader.read(partition, 60, end + 1, 100))
        assert [m.offset for m in reader.read_on(partition, 0, end)] == list(range(50, end))
        assert reader.known_end(partition, end + 9, -1, end) == end


def test_an_offset_is_found_by_the_time_of_its_message(settings: Settings, transport: Transport) -> None:
    for first in range(0, 60, 20):
        publish(transport, settings.topics.raw, range(first, first + 20))
        time.sleep(0.05)
    partition, messages = fullest(transport, settings.topics.raw)
    times = sorted({message.time_ms for message in messages})
    with transport.reader(settings.topics.raw, "tests") as reader:
        for time_ms in (*times, times[0] - 1, times[-1] + 1):
            wanted = next((m.offset for m in messages if m.time_ms >= time_ms), len(messages))
            assert reader.offsets_at(time_ms * 1_000_000)[partition] == wanted
        recent = list(reader.read_all(times[-1] * 1_000_000))
    assert {m.offset for m in recent if m.partition == partition} == {
        m.offset for m in messages if m.time_ms >= times[-1]
    }


def test_a_topic_has_an_id_and_ends(settings: Settings, transport: Transport) -> None:
    publish(transport, settings.topics.raw, range(MESSAGES))
    names = (settings.topics.raw, settings.topics.normalized)
    ends = transport.ends(names, TIMEOUT_S)
    assert sum(ends[names[0]].offsets.values()) == MESSAGES
    assert ends[names[1]].offsets == dict.fromkeys(range(PARTITIONS), 0)
    for name in names:
        with transport.reader(name, "tests") as reader:
            assert reader.topic_id() == ends[name].topic_id != ""
    assert ends[names[0]].topic_id != ends[names[1]].topic_id
    transport.ensure_topics()
    assert transport.ends(names, TIMEOUT_S) == ends


def test_a_follower_has_what_was_there_and_what_comes(settings: Settings, transport: Transport) -> None:
    topic = settings.topics.statistics
    publish(transport, topic, range(7))
    follower = transport.follower(topic, "tests")
    heard: list[bytes | None] = []

    def hears(number: int) -> Callable[[], bool]:
        def heard_so_many() -> bool:
            heard.extend(message.value for message in follower.poll(100, 0.05))
            return len(heard) >= number

        return heard_so_many

    eventually(hears(7))
    publish(transport, topic, range(7, 12))
    eventually(hears(12))
    assert heard == [b"%d" % number for number in range(12)]
    follower.close()


def test_a_follower_begins_where_it_is_told_on_every_partition(
    settings: Settings, transport: Transport
) -> None:
    topic = settings.topics.raw
    publish(transport, settings.topics.raw, range(200))
    before = by_partition(read(transport, topic))
    starts = {partition: len(before.get(partition, [])) // 2 for partition in range(PARTITIONS)}
    follower = transport.follower(topic, "tests", starts)
    heard: list[Message] = []

    def hears(number: int) -> Callable[[], bool]:
        def heard_so_many() -> bool:
            heard.extend(follower.poll(30, 0.05))
            return len(heard) >= number

        return heard_so_many

    expected = {
        partition: [m.value for m in messages[starts[partition] :]] for partition, messages in before.items()
    }
    eventually(hears(sum(map(len, expected.values()))))
    assert {n: [m.value for m in found] for n, found in by_partition(iter(heard)).items()} == expected
    publish(transport, settings.topics.raw, range(200, 230))
    eventually(hears(len(heard) + 30))
    after = by_partition(read(transport, topic))
    assert {n: [m.offset for m in found] for n, found in by_partition(iter(heard)).items()} == {
        partition: [m.offset for m in messages[starts[partition] :]] for partition, messages in after.items()
    }
    follower.close()


def test_a_follower_that_is_to_begin_where_nothing_is_any_more_says_so(
    settings: Settings, transport: Transport
) -> None:
    topic = settings.topics.raw
    publish(transport, settings.topics.raw, range(100))
    partition, messages = fullest(transport, settings.topics.raw)
    publish(transport, settings.topics.raw, range(100, MESSAGES))
    let_go_before(settings, transport, topic, partition, len(messages))
    if settings.transport.over_redis:  # which lets messages go with their batch
        address = parse_address(settings.redis_address)
        connection = Connection(address)
        connection.call("XTRIM", keys_of(address).stream(topic, partition), "MINID", len(messages))
        connection.close()
    follower = transport.follower(topic, "tests", {partition: len(messages) - 1})
    with pytest.raises(RangeLost):
        eventually(lambda: bool(follower.poll(100, 0.05)))
    follower.close()


def test_of_a_compacted_topic_the_newest_of_a_key_is_kept_and_a_tombstone_is_seen(
    settings: Settings, transport: Transport
) -> None:
    topic = settings.topics.positions
    publisher = transport.publisher()
    for key, value in ((b"a", b"1"), (b"b", b"1"), (b"a", b"2"), (b"c", b"1"), (b"b", None), (b"a", b"3")):
        publisher.publish(topic, key, value)
    publisher.flush(FLUSH_S)
    newest = {message.key: message.value for message in read(transport, topic)}
    assert newest == {b"a": b"3", b"b": None, b"c": b"1"}


class Reading:
    """A member that reads all that it is assigned, from where the group is."""

    def __init__(self, transport: Transport, name: str, topic: str) -> None:
        self.places: dict[int, int] = {}
        """By partition: the next offset."""
        self.values: list[bytes | None] = []
        self.answers: list[tuple[Place, str]] = []
        self.lost_partitions: set[int] = set()
        self.commits_at_end = True
        self._topic = topic
        self.group: Group = transport.group(name, self)
        self.group.subscribe([topic])

    def poll(self) -> None:
        for run in self.group.consume(500, 0.05):
            for offset, value in run.messages:
                if self.places.get(run.partition) == offset:
                    self.places[run.partition] = offset + 1
                    self.values.append(value)

    def assigned(self, places: Sequence[Place]) -> None:
        begun = []
        for place in self.group.committed(places):
            start = max(place.offset, 0)
            self.places[place.partition] = start
            begun.append(Place(place.topic, place.partition, start))
        self.group.begin(begun)

    def revoked(self, places: Sequence[Place]) -> None:
        going = [Place(p.topic, p.partition, self.places.pop(p.partition), "left") for p in places]
        if going and self.commits_at_end:
            self.group.commit_now(going)

    def lost(self, places: Sequence[Place]) -> None:
        for place in places:
            self.places.pop(place.partition, None)
            self.lost_partitions.add(place.partition)

    def gone(self, topic: str, partition: int) -> None:
        low = self.group.bounds(Place(topic, partition), TIMEOUT_S).low
        self.places[partition] = low
        self.group.begin_again(Place(topic, partition, low))

    def answered(self, place: Place, failure: str) -> None:
        self.answers.append((place, failure))


def polled(members: Sequence[Reading], holds: Callable[[], bool]) -> None:
    def polled_and_holds() -> bool:
        for member in members:
            member.poll()
        return holds()

    eventually(polled_and_holds, 60.0)


def test_a_group_commits_an_offset_with_its_word_and_a_new_member_finds_both(
    settings: Settings, transport: Transport
) -> None:
    topic = settings.topics.raw
    publish(transport, settings.topics.raw, range(MESSAGES))
    one = Reading(transport, topic, topic)
    polled([one], lambda: len(one.values) == MESSAGES)
    partition, offset = max(one.places.items(), key=lambda place: place[1])
    one.group.commit(Place(topic, partition, offset - 1, '{"start":1}'))
    polled([one], lambda: bool(one.answers))
    ((place, failure),) = one.answers
    assert (place.partition, place.offset, place.metadata, failure) == (
        partition,
        offset - 1,
        '{"start":1}',
        "",
    )
    (found,) = one.group.committed([Place(topic, partition)])
    assert (found.offset, found.metadata) == (offset - 1, '{"start":1}')
    one.commits_at_end = False
    one.group.close()
    other = Reading(transport, topic, topic)
    polled([other], lambda: len(other.places) == PARTITIONS)
    (found,) = other.group.committed([Place(topic, partition)])
    assert (found.offset, found.metadata) == (offset - 1, '{"start":1}')
    assert transport.behind(topic, [topic], TIMEOUT_S) == MESSAGES - (offset - 1)
    backlog = {(b.group, b.partition): b.messages for b in transport.backlogs(TIMEOUT_S) if b.topic == topic}
    assert backlog[topic, partition] == 1
    other.commits_at_end = False
    other.group.close()


def test_members_share_the_partitions_and_nothing_is_read_twice_or_left_out_as_they_come_and_go(
    settings: Settings, transport: Transport
) -> None:
    topic = settings.topics.raw
    one = Reading(transport, topic, topic)
    polled([one], lambda: len(one.places) == PARTITIONS)
    publish(transport, settings.topics.raw, range(500))
    polled([one], lambda: len(one.values) == 500)
    two = Reading(transport, topic, topic)
    polled([one, two], lambda: len(one.places) == len(two.places) == PARTITIONS // 2)
    assert set(one.places) | set(two.places) == set(range(PARTITIONS))
    publish(transport, settings.topics.raw, range(500, 1_000))
    polled([one, two], lambda: len(one.values) + len(two.values) == 1_000)
    one.group.close()
    polled([two], lambda: len(two.places) == PARTITIONS)
    publish(transport, settings.topics.raw, range(1_000, 1_200))
    polled([two], lambda: len(one.values) + len(two.values) == 1_200)
    two.group.close()
    assert sorted(int(value or b"") for value in one.values + two.values) == list(range(1_200))


@pytest.mark.parametrize("transport_name", ["redis"], indirect=True)  # Kafka's broker is trusted to fence
def test_a_member_that_stood_still_too_long_may_commit_nothing_any_more(
    settings: Settings, transport: Transport
) -> None:
    topic = settings.topics.raw
    publish(transport, settings.topics.raw, range(100))
    still = Reading(transport, topic, topic)
    polled([still], lambda: len(still.values) == 100)
    held = dict(still.places)
    other = Reading(transport, topic, topic)
    time.sleep(SESSION_MS / 1_000)
    polled([other], lambda: bool(other.places))
    partition = next(iter(other.places))
    with pytest.raises(TransportError, match="FENCED"):
        still.group.commit_now([Place(topic, partition, held[partition], "stale")])
    polled([still, other], lambda: len(still.places) + len(other.places) == PARTITIONS)
    assert partition in still.lost_partitions
    for member in (still, other):
        member.commits_at_end = False
        member.group.close()


def test_a_paused_partition_gives_nothing_until_it_is_resumed_from_where_it_is_told(
    settings: Settings, transport: Transport
) -> None:
    topic = settings.topics.quarantine
    publish(transport, topic, range(10))
    member = Reading(transport, topic, topic)
    polled([member], lambda: len(member.values) == 10)
    member.group.pause(Place(topic, 0, 10))
    publish(transport, topic, range(10, 20))
    for _ in range(5):
        member.poll()
    assert len(member.values) == 10
    member.group.resume(Place(topic, 0, 10))
    polled([member], lambda: len(member.values) == 20)
    assert [int(value or b"") for value in member.values] == list(range(20))
    member.group.close()
