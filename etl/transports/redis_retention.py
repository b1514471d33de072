"""Retention in Redis: what is older goes, once every group has read it. A group that reads no more holds its topics
until it is forgotten (``forget_group``)."""

from __future__ import annotations

from etl.transports.redis_client import Connection
from etl.transports.redis_log import Keys, topic_of

ENTRIES_MAX = 100
"""Of one call, for which the server does nothing else."""


def trim(connection: Connection, keys: Keys, topic: str, before_ms: int) -> int:
    """Let go of batches whose every message is older. How many went. Raises ``TransportError``."""
    gone = 0
    for partition in range(topic_of(connection, keys, topic).partitions):
        places = keys.place(topic, partition, "")
        own = keys.stream(topic, partition), keys.state(topic, partition)
        while went := connection.call("FCALL", "etl_1_trim", 2, *own, places, before_ms, ENTRIES_MAX):
            gone += went
    return gone


def forget_group(connection: Connection, keys: Keys, topic: str, group: str) -> None:
    """It holds nothing of ``topic`` any more, and begins anew if it comes back. Raises ``TransportError``."""
    for partition in range(topic_of(connection, keys, topic).partitions):
        connection.call("HDEL", keys.state(topic, partition), f"group:{group}")
        connection.call("DEL", keys.place(topic, partition, group))
