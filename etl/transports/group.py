"""A consumer group: its members share the partitions of topics, and commit how far they are, with a word of their own.

What is read comes in runs, what changes comes to the ``Member``, and both on the thread that consumes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from etl.transports.ranges import Bounds


class Place(Struct, frozen=True):
    """An offset of a partition; committed: everything before is done. ``offset`` -1: nothing was committed.
    ``leader_epoch``: under which leader the message before came, -1 = not known."""

    topic: str
    partition: int
    offset: int = -1
    metadata: str = ""
    leader_epoch: int = -1


class Run(Struct, frozen=True):
    """Messages that follow each other on a partition, as (offset, value), at least one. ``leader_epoch``: under which
    leader the last one came, -1 = not known."""

    topic: str
    partition: int
    messages: list[tuple[int, bytes | None]]
    leader_epoch: int = -1


class Backlog(Struct, frozen=True):
    """``messages`` lie on the partition after what ``group`` has committed."""

    group: str
    topic: str
    partition: int
    messages: int


class Member(Protocol):
    """Called from within ``Group.consume``, and from ``close``."""

    def assigned(self, places: Sequence[Place]) -> None:
        """These partitions are ours now: to ``begin`` each where it is to be read from."""

    def revoked(self, places: Sequence[Place]) -> None:
        """They go to other members once this returns; until then they are ours, and may be committed."""

    def lost(self, places: Sequence[Place]) -> None:
        """Others have them already."""

    def gone(self, topic: str, partition: int) -> None:
        """The topic does not have what is to be read next: to ``begin_again`` where it shall go on."""

    def answered(self, place: Place, failure: str) -> None:
        """To ``commit``. ``failure``: why it does not stand, "" if it does."""


class Group(Protocol):
    """One member's side. Everything but ``consume`` raises ``TransportError`` where the broker does not do it."""

    def subscribe(self, topics: Sequence[str]) -> None: ...

    def consume(self, messages_max: int, wait_s: float) -> Iterator[Run]:
        """What came, as far as it is there within ``wait_s``. Raises ``MembershipLost``, after which there is nothing
        to do but ``close``, and whatever the ``Member`` raises."""

    def begin(self, places: Sequence[Place]) -> None:
        """Read partitions that were assigned, each from its place."""

    def begin_again(self, place: Place) -> None:
        """Read on from there where the topic does not have what was to come."""

    def end(self, places: Sequence[Place]) -> None:
        """Read these no more, paused or not, until they are begun."""

    def pause(self, place: Place) -> None:
        """Fetch nothing of it, and give up what was fetched."""

    def resume(self, place: Place) -> None:
        """Read a paused partition on from there."""

    def bounds(self, place: Place, timeout_s: float, cached: bool = False) -> Bounds:
        """Of the partition, now; ``cached``: as the last fetch saw them."""

    def committed(self, places: Sequence[Place]) -> list[Place]:
        """What the group has committed of these partitions; a coordinator that just starts is waited for."""

    def commit(self, place: Place) -> None:
        """Without waiting: the answer comes to ``Member.answered``."""

    def commit_now(self, places: Sequence[Place]) -> None:
        """Waits for the answer."""

    def cluster_id(self, topic: str) -> str:
        """Of the cluster that has ``topic``."""

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """By name; a topic made anew under the same name has another."""

    def close(self) -> None:
        """Leave the group; what is assigned is revoked before."""
