"""What Redis has of its own: how it is let in, what it must promise, and what it does when it dies or is full."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from etl.embedded.valkey import valkey_part
from etl.errors import TransportError, UsageError
from etl.settings import Settings, changed, make
from etl.transports import redis_retention
from etl.transports.redis_client import Address, Connection, Refused, parse_address
from etl.transports.redis_log import Keys, keys_of
from etl.transports.transport import read_topic, transport_of
from tests.support.servers import RunningPart
from tests.support.topics import eventually

FLUSH_S = 60.0
MIB = 1 << 20


def test_an_address_says_all_that_lets_us_in() -> None:
    url = "rediss://me:p%40ss@host:7000/3?prefix=a:&ca_file=ca.pem&certificate_file=c.pem&key_file=k.pem"
    assert parse_address(url) == Address(
        "host",
        7000,
        "me",
        "p@ss",
        3,
        True,
        "a:",
        ca_file="ca.pem",
        certificate_file="c.pem",
        key_file="k.pem",
    )
    assert parse_address("redis://host") == Address("host")


@pytest.mark.parametrize(
    "url", ["redis://", "http://host", "redis://host/x", "redis://host:x", "redis://u:secret@host?other=1"]
)
def test_an_address_that_is_none_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError, match="an address of Redis") as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)


@pytest.fixture
def server(crashable: Callable[..., RunningPart]) -> RunningPart:
    return crashable(valkey_part, redis_memory_mib=24)


@pytest.fixture
def settings(server: RunningPart) -> Settings:
    return make(transport_url=f"redis://127.0.0.1:{server.settings.transport.redis_port}", topic_partitions=2)


@pytest.fixture
def asked(settings: Settings) -> Iterator[Connection]:
    connection = Connection(parse_address(settings.redis_address))
    yield connection
    connection.close()


@pytest.mark.integration
@pytest.mark.parametrize("setting", [("appendfsync", "everysec"), ("maxmemory-policy", "allkeys-lru")])
def test_a_server_that_may_lose_what_it_acknowledges_is_refused(
    settings: Settings, asked: Connection, setting: tuple[str, str]
) -> None:
    transport_of(settings).ensure_topics()
    asked.call("CONFIG", "SET", *setting)
    with pytest.raises(
        TransportError, match=f"{setting[0]} is {setting[1]}: what it acknowledges may be lost"
    ):
        transport_of(settings).ensure_topics()


@pytest.mark.integration
def test_a_user_is_let_in_by_name_into_its_database_and_to_its_prefix(
    settings: Settings, asked: Connection
) -> None:
    asked.call("ACL", "SETUSER", "etl", "on", ">a b", "~mine:*", "+@all")
    place = settings.redis_address.removeprefix("redis://")
    named = changed(settings, transport_url=f"redis://etl:a%20b@{place}/2?prefix=mine:")
    transport_of(named).ensure_topics()
    publisher = transport_of(named).publisher()
    publisher.publish(named.topics.raw, b"k", b"v")
    publisher.flush(FLUSH_S)
    assert [m.value for m in read_topic(named, named.topics.raw, "tests")] == [b"v"]
    assert asked.call("DBSIZE") == 0
    for wrong, why in ((f"redis://etl:no@{place}", "WRONGPASS"), (f"redis://etl:a%20b@{place}", "NOPERM")):
        with pytest.raises(Refused, match=why):
            transport_of(changed(settings, transport_url=wrong)).ensure_topics()


@pytest.mark.integration
def test_whatever_a_killed_server_had_acknowledged_is_there_once_and_the_rest_too(
    server: RunningPart, settings: Settings
) -> None:
    transport_of(settings).ensure_topics()
    publisher = transport_of(settings).publisher()
    acknowledged: list[int] = []
    number = 0
    for _ in range(4):
        for _ in range(20):
            for _ in range(100):
                heard = partial(acknowledged.append, number)
                publisher.publish(settings.topics.raw, b"k%d" % (number % 5), b"%d" % number, None, heard)
                number += 1
            publisher.poll()
            time.sleep(0.002)
        server.kill()
        publisher.poll()
        before = set(acknowledged)
        server.start()
        found = [int(m.value or b"") for m in read_topic(settings, settings.topics.raw, "tests")]
        assert before <= set(found)
    publisher.flush(FLUSH_S)
    found = [int(m.value or b"") for m in read_topic(settings, settings.topics.raw, "tests")]
    assert sorted(found) == list(range(number)) == sorted(acknowledged)


@pytest.mark.integration
def test_a_full_server_takes_nothing_until_something_was_let_go_and_loses_nothing(
    settings: Settings, asked: Connection
) -> None:
    settings = changed(settings, topic_partitions=1)
    transport, topic, sent = transport_of(settings), settings.topics.raw, 40
    transport.ensure_topics()
    publisher = transport.publisher()
    values = [os.urandom(MIB) for _ in range(sent)]
    for value in values:
        publisher.publish(topic, b"k", value)
    with pytest.raises(TransportError, match="not acknowledged within"):
        publisher.flush(3.0)
    found: list[bytes | None] = []

    def read_and_let_go() -> bool:
        with transport.reader(topic, "reader") as reader:
            bounds = reader.bounds()[0]
            found.extend(message.value for message in reader.read_on(0, bounds.low, bounds.high))
            reader.show_progress(0, bounds.high)
        redis_retention.trim(asked, keys_of(asked.address), topic, int(time.time() * 1_000) + 1)
        publisher.poll()
        return len(found) == sent

    eventually(read_and_let_go, FLUSH_S)
    assert found == values
    publisher.flush(FLUSH_S)


@pytest.mark.integration
def test_retention_goes_no_further_than_the_slowest_group(settings: Settings, asked: Connection) -> None:
    settings = changed(settings, topic_partitions=1)
    transport, topic, keys = transport_of(settings), settings.topics.raw, Keys("")
    transport.ensure_topics()
    publisher = transport.publisher()
    for number in range(30):
        publisher.publish(topic, b"k", b"%d" % number)
        if number % 10 == 9:
            publisher.flush(FLUSH_S)
    later_ms = int(time.time() * 1_000) + 1
    with transport.reader(topic, "slow") as slow, transport.reader(topic, "fast") as fast:
        fast.show_progress(0, 30)
        slow.show_progress(0, 15)
        assert redis_retention.trim(asked, keys, topic, 0) == 0
        transport.hold(topic, "not begun")
        assert redis_retention.trim(asked, keys, topic, later_ms) == 0
        redis_retention.forget_group(asked, keys, topic, "not begun")
        assert redis_retention.trim(asked, keys, topic, later_ms) == 1
        assert slow.bounds()[0].low == 10
        redis_retention.forget_group(asked, keys, topic, "slow")
        assert redis_retention.trim(asked, keys, topic, later_ms) == 2
        assert fast.bounds()[0].low == 30


@pytest.mark.integration
def test_a_group_cannot_be_ahead_of_its_topic_and_is_forgotten_once_nobody_lives_in_it(
    settings: Settings, asked: Connection
) -> None:
    settings = changed(settings, topic_partitions=1)
    transport, topic = transport_of(settings), settings.topics.raw
    transport.ensure_topics()
    publisher = transport.publisher()
    for number in range(10):
        publisher.publish(topic, b"k", b"%d" % number)
    publisher.flush(FLUSH_S)
    with transport.reader(topic, "shown") as reader:
        reader.show_progress(0, 7)
        reader.show_progress(0, 11)
    (place,) = transport.commits([topic], FLUSH_S)["shown"]
    assert (place.partition, place.offset) == (0, 7)
    with pytest.raises(UsageError, match="no such group"):
        redis_retention.forget_group_everywhere(settings, "unknown")
    members = Keys("").members("shown")
    asked.call("ZADD", members, int(time.time() * 1_000), "one")
    with pytest.raises(TransportError, match="shown has members"):
        redis_retention.forget_group_everywhere(settings, "shown")
    asked.call("DEL", members)
    assert redis_retention.forget_group_everywhere(settings, "shown") == [topic]
    assert transport.commits([topic], FLUSH_S) == {}


@pytest.mark.integration
def test_an_end_that_a_server_lost_is_noticed_though_the_topic_is_longer_again(
    server: RunningPart, settings: Settings, tmp_path: Path
) -> None:
    settings = changed(settings, topic_partitions=1)
    transport, topic = transport_of(settings), settings.topics.raw
    transport.ensure_topics()

    def publish(first: int, end: int) -> None:
        publisher = transport.publisher()
        for number in range(first, end):
            publisher.publish(topic, b"k", b"%d" % number)
        publisher.flush(FLUSH_S)

    publish(0, 100)
    server.stop()
    kept, former = server.settings.state_path / "valkey", tmp_path / "former"
    shutil.copytree(kept, former)
    server.start()
    publish(100, 150)
    *_, last = read_topic(settings, topic, "tests")
    server.stop()
    shutil.rmtree(kept)
    former.rename(kept)
    time.sleep(1.1)  # runs that begin within one second are not told apart
    server.start()
    publish(150, 250)
    with transport.reader(topic, "tests") as reader:
        assert reader.bounds()[0].high == 200
        assert 0 < last.leader_epoch < 1 << 31  # stores keep it in so many bits
        assert reader.known_end(0, 150, last.leader_epoch, 200) == 100
        assert reader.known_end(0, 90, last.leader_epoch, 200) == 90
        assert reader.known_end(0, 150, -1, 200) == 150
        (newest,) = next(reader.read(0, 199, 200, 1))
        assert reader.known_end(0, 200, newest.leader_epoch, 200) == 200


@pytest.mark.integration
def test_a_producer_that_was_silent_for_so_long_that_it_is_forgotten_goes_on(
    settings: Settings, asked: Connection
) -> None:
    settings = changed(settings, topic_partitions=1)
    transport, topic = transport_of(settings), settings.topics.raw
    transport.ensure_topics()
    publisher = transport.publisher()
    for first in range(0, 2_000, 1_000):
        for number in range(first, first + 1_000):
            publisher.publish(topic, b"k", b"%d" % number)
        publisher.flush(FLUSH_S)
        (known,) = asked.call("KEYS", f"{topic}:*:p:*")
        asked.call("DEL", known)
    assert [int(m.value or b"") for m in read_topic(settings, topic, "tests")] == list(range(2_000))
