"""What lies on a topic, whatever carries it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

Pairs = Sequence[tuple[str, bytes | None]]
"""Of headers, in the order in which they were written."""


class Message(Struct, frozen=True, gc=False):
    """One message of a partition. ``value`` ``None`` on a compacted topic: its key is forgotten. ``time_ms``: when it
    was produced. ``leader_epoch``: under which leader of its partition it was written, -1 where nobody says.

    ``headers`` is a call: a client unpacks them only then, which takes as long as all the rest."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Callable[[], Pairs | None]
    time_ms: int
    leader_epoch: int = -1
