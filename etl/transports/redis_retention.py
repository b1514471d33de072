"""Retention in Redis: what is older goes, once every group has read it. A group that reads no more holds its topics
until it is forgotten (``forget_group``)."""

from __future__ import annotations

from etl.errors import TransportError, UsageError
from etl.settings import Settings
from etl.transports.redis_client import REQUEST_TIMEOUT_S, Connection, parse_address
from etl.transports.redis_log import Keys, keys_of, topic_of

ENTRIES_MAX = 100
"""Of one call, for which the server does nothing else."""


def trim(connection: Connection, keys: Keys, topic: str, before_ms: int) -> int:
    """Let go of batches whose every message is older. How many went. Raises ``TransportError``."""
    gone = 0
    for partition in range(topic_of(connection, keys, topic).partitions):
        places = keys.place(topic, partition, "")
        own = keys.stream(topic, partition), keys.state(topic, partition)
        while went := connection.call("FCALL", "etl_2_trim", 2, *own, places, before_ms, ENTRIES_MAX):
            gone += went
    return gone


def forget_group_everywhere(settings: Settings, group: str) -> list[str]:
    """``forget_group`` of all topics that it read, which are returned. Raises ``TransportError``: so while a member of
    it lives, and ``UsageError`` if nobody knows it."""
    address = parse_address(settings.redis_address)
    connection, keys = Connection(address, REQUEST_TIMEOUT_S), keys_of(address)
    own = settings.topics
    try:
        topics = [
            name
            for name in (own.raw, own.normalized, own.quarantine, own.statistics, own.positions)
            if _is_read(connection, keys, name, group)
        ]
        if not topics:
            raise UsageError(f"{group}: no such group; `etl transport groups` prints those that there are")
        seconds = int(connection.call("TIME")[0])
        since_ms = seconds * 1_000 - settings.sink.session_timeout_ms
        if connection.call("ZCOUNT", keys.members(group), since_ms, "+inf"):
            raise TransportError(f"{group} has members: stop them, and wait for a session")
        for name in topics:
            forget_group(connection, keys, name, group)
        return topics
    finally:
        connection.close()


def _is_read(connection: Connection, keys: Keys, topic: str, group: str) -> bool:
    partitions = range(topic_of(connection, keys, topic).partitions)
    return any(connection.call("HEXISTS", keys.state(topic, one), f"group:{group}") for one in partitions)


def forget_group(connection: Connection, keys: Keys, topic: str, group: str) -> None:
    """It holds nothing of ``topic`` any more, and begins anew if it comes back. Raises ``TransportError``."""
    for partition in range(topic_of(connection, keys, topic).partitions):
        connection.call("HDEL", keys.state(topic, partition), f"group:{group}")
        connection.call("DEL", keys.place(topic, partition, group))
