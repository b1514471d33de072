"""Redis 7 or Valkey as a transport, for deployments that have no Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence

from etl.errors import TransportError
from etl.settings import Settings
from etl.transports.group import Backlog, Group, Member, Place
from etl.transports.publisher import TopicPublisher
from etl.transports.ranges import Bounds, Ends, RangeReader
from etl.transports.redis_client import REQUEST_TIMEOUT_S, Connection, Refused, load_functions, parse_address
from etl.transports.redis_group import RedisGroup
from etl.transports.redis_log import keys_of, topic_of
from etl.transports.redis_publisher import RedisPublisher
from etl.transports.redis_ranges import RedisFollower, RedisRangeReader, bounds_of

DURABLE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
"""What makes an acknowledged message a kept one: with ``everysec`` a ``kill -9`` took 39,800 of them."""
GROUP_FIELD = b"group:"


class RedisTransport:
    """See ``Transport``."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._address = parse_address(settings.redis_address)
        self._keys = keys_of(self._address)

    def ensure_topics(self) -> None:
        """Refuses a server that may forget what it acknowledged. Raises ``TransportError``."""
        topics = self._settings.topics
        connection = Connection(self._address, REQUEST_TIMEOUT_S)
        try:
            require_durable(connection)
            load_functions(connection)
            for name, partitions, is_compacted in (
                (topics.raw, topics.partitions, False),
                (topics.normalized, topics.partitions, False),
                (topics.quarantine, 1, False),
                (topics.statistics, 1, True),
                (topics.positions, 1, True),
            ):
                key = self._keys.topic(name)
                if connection.call("HEXISTS", key, "copying"):
                    raise TransportError(
                        f"{self._address.place}: {name} is not whole: finish `etl transport copy`"
                    )
                connection.call("HSETNX", key, "partitions", partitions)
                connection.call("HSETNX", key, "compacted", int(is_compacted))
                connection.call("HSETNX", key, "id", uuid.uuid4().hex)  # last: with it the topic is there
        finally:
            connection.close()

    def hold(self, topic: str, group: str) -> None:
        connection = Connection(self._address, REQUEST_TIMEOUT_S)
        try:
            for partition in range(topic_of(connection, self._keys, topic).partitions):
                connection.call("HSETNX", self._keys.state(topic, partition), f"group:{group}", 1)
        finally:
            connection.close()

    def publisher(self) -> TopicPublisher:
        return RedisPublisher(self._settings)

    def reader(self, topic: str, group: str) -> RangeReader:
        return RedisRangeReader(self._settings, topic, group)

    def follower(self, topic: str, group: str, starts: Mapping[int, int] | None = None) -> RedisFollower:
        return RedisFollower(self._settings, topic, starts)

    def group(self, name: str, member: Member) -> Group:
        return RedisGroup(self._settings, name, member)

    def ends(self, topics: Sequence[str], timeout_s: float) -> dict[str, Ends]:
        connection = Connection(self._address, timeout_s)
        try:
            return {
                name: Ends(
                    topic_of(connection, self._keys, name).id,
                    {partition: bounds.high for partition, bounds, _ in self._partitions(connection, name)},
                )
                for name in topics
            }
        finally:
            connection.close()

    def backlogs(self, timeout_s: float) -> list[Backlog]:
        topics = self._settings.topics
        names = (topics.raw, topics.normalized, topics.quarantine, topics.statistics, topics.positions)
        connection = Connection(self._address, timeout_s)
        try:
            return [
                Backlog(group, name, partition, max(0, bounds.high - offset))
                for name in names
                for partition, bounds, groups in self._partitions(connection, name)
                for group, offset in groups.items()
            ]
        finally:
            connection.close()

    def commits(self, topics: Sequence[str], timeout_s: float) -> dict[str, list[Place]]:
        connection = Connection(self._address, timeout_s)
        found: dict[str, list[Place]] = {}
        try:
            for name in topics:
                for partition, _, groups in self._partitions(connection, name):
                    for group in groups:
                        key = self._keys.place(name, partition, group)
                        offset, word = connection.call("HMGET", key, "offset", "metadata")
                        if offset is not None:
                            place = Place(name, partition, int(offset), (word or b"").decode())
                            found.setdefault(group, []).append(place)
            return found
        finally:
            connection.close()

    def behind(self, group: str, topics: Sequence[str], timeout_s: float) -> int:
        connection = Connection(self._address, timeout_s)
        try:
            return sum(
                bounds.high - max(bounds.low, groups.get(group, 0))
                for name in topics
                for _, bounds, groups in self._partitions(connection, name)
            )
        finally:
            connection.close()

    def _partitions(self, connection: Connection, name: str) -> Iterator[tuple[int, Bounds, dict[str, int]]]:
        """Number, bounds, and each group's offset. Raises ``TransportError``."""
        for partition in range(topic_of(connection, self._keys, name).partitions):
            found = connection.call("HGETALL", self._keys.state(name, partition))
            state = dict(zip(found[::2], found[1::2], strict=True))
            groups = [field[len(GROUP_FIELD) :].decode() for field in state if field.startswith(GROUP_FIELD)]
            offsets = {
                group: int(connection.call("HGET", self._keys.place(name, partition, group), "offset") or 0)
                for group in groups
            }
            yield partition, bounds_of([state.get(b"low"), state.get(b"next")]), offsets


def require_durable(connection: Connection) -> None:
    """Raises ``TransportError`` if the server may lose what it acknowledged, or does not say."""
    for name, wanted in DURABLE.items():
        try:
            found = connection.call("CONFIG", "GET", name)
        except Refused as error:
            if error.code != "NOPERM":
                raise
            raise TransportError(
                f"{error}; the user must be let in to CONFIG GET: it tells what is kept"
            ) from None
        value = found[1].decode() if len(found) > 1 else ""
        if value != wanted:
            raise TransportError(
                f"{connection.address.place}: {name} is {value or 'not known'}: what it acknowledges may be lost;"
                f" set it to {wanted}"
            )
