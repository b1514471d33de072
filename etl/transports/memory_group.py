"""A consumer group within one process: members take what is free up to their share, as over Redis."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct, field

from etl.transports.group import Member, Place, Run
from etl.transports.message import Message
from etl.transports.positions import Key, Positions
from etl.transports.ranges import Bounds


class _Log(Protocol):
    messages: dict[int, Message]

    @property
    def bounds(self) -> Bounds: ...


class _Topic(Protocol):
    id: str

    @property
    def logs(self) -> Sequence[_Log]: ...


class GroupState(Struct):
    """What members share: who there is, who has which partition, and what is committed."""

    members: list[str] = field(default_factory=list)
    owners: dict[Key, str] = field(default_factory=dict)
    committed: dict[Key, Place] = field(default_factory=dict)


class MemoryGroup(Positions):
    """See ``Group``."""

    def __init__(self, topic_of: Callable[[str], _Topic], state: GroupState, member: Member) -> None:
        super().__init__()
        self._topic_of = topic_of
        self._state = state
        self._member = member
        self._id = uuid.uuid4().hex
        self._topics: Sequence[str] = ()
        self._answers: list[Place] = []

    def subscribe(self, topics: Sequence[str]) -> None:
        self._topics = topics
        self._state.members.append(self._id)

    def close(self) -> None:
        self._give_back(self._own())
        if self._id in self._state.members:
            self._state.members.remove(self._id)

    def consume(self, messages_max: int, wait_s: float) -> Iterator[Run]:
        self._share()
        answers, self._answers = self._answers, []
        for place in answers:
            self._member.answered(place, "")
        for key in self._reading():
            if messages_max > 0 and (run := self._run(key, messages_max)):
                messages_max -= len(run.messages)
                yield run

    def _run(self, key: Key, messages_max: int) -> Run | None:
        log, position = self._topic_of(key[0]).logs[key[1]], self._positions[key]
        if not log.bounds.low <= position <= log.bounds.high:
            self._member.gone(*key)
            return None
        pairs: list[tuple[int, bytes | None]] = []
        while position < log.bounds.high and len(pairs) < messages_max:
            message = log.messages.get(position)
            if message is None and pairs:
                break
            if message is not None:
                pairs.append((position, message.value))
            position += 1
        self._positions[key] = position
        return Run(*key, pairs) if pairs else None

    def _share(self) -> None:
        living = self._state.members
        for number, topic in enumerate(self._topics):
            partitions = range(len(self._topic_of(topic).logs))
            place = (living.index(self._id) + number) % len(living)
            share = len(partitions) // len(living) + (place < len(partitions) % len(living))
            own = [key for key in self._own() if key[0] == topic]
            self._give_back(own[share:])
            free = [(topic, one) for one in partitions if (topic, one) not in self._state.owners]
            taken = free[: max(0, share - len(own))]
            if taken:
                self._state.owners |= dict.fromkeys(taken, self._id)
                self._member.assigned([Place(*key) for key in taken])

    def _own(self) -> list[Key]:
        return [key for key, owner in self._state.owners.items() if owner == self._id]

    def _give_back(self, keys: Sequence[Key]) -> None:
        if not keys:
            return
        self._member.revoked([Place(*key) for key in keys])
        self.end([Place(*key) for key in keys])
        for key in keys:
            del self._state.owners[key]

    def bounds(self, place: Place, timeout_s: float, cached: bool = False) -> Bounds:
        return self._topic_of(place.topic).logs[place.partition].bounds

    def committed(self, places: Sequence[Place]) -> list[Place]:
        return [
            self._state.committed.get((place.topic, place.partition), Place(place.topic, place.partition))
            for place in places
        ]

    def commit(self, place: Place) -> None:
        self.commit_now([place])
        self._answers.append(place)

    def commit_now(self, places: Sequence[Place]) -> None:
        for place in places:
            self._state.committed[place.topic, place.partition] = place

    def cluster_id(self, topic: str) -> str:
        return self._topic_of(topic).id

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        return {topic: self._topic_of(topic).id for topic in topics}
