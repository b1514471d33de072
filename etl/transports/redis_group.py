"""A consumer group in Redis: every partition is lent to one member, for as long as it says that it lives.

Nobody decides for all. Each member counts who lives, takes of every topic what is free until it has its share, and
gives back what is beyond it; a lease that ran out is free. The token of a lease rises with each owner, so that a commit
of a former one is refused by the server.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import hiredis

from etl.errors import TransportError
from etl.settings import Settings
from etl.transports.group import Member, Place, Run
from etl.transports.positions import Key, Positions
from etl.transports.ranges import Bounds
from etl.transports.redis_client import REQUEST_TIMEOUT_S, Argument, Connection, load_functions, parse_address
from etl.transports.redis_log import decode_entry, keys_of, topic_of
from etl.transports.redis_ranges import bounds_of

BEATS = 3
"""In the time of a session."""
ENTRIES_MAX = 16
"""Of a partition, in one go."""
POLL_S = 0.005
NOBODY = 0
"""The token of whoever is no member: it may commit while no member has the partition."""
FORGOTTEN_SESSIONS = 2
"""A member that was not seen for so long has no share any more."""

_log = logging.getLogger(__name__)


class RedisGroup(Positions):
    """See ``Group``."""

    def __init__(self, settings: Settings, name: str, member: Member) -> None:
        super().__init__()
        address = parse_address(settings.redis_address)
        self._connection = Connection(address, REQUEST_TIMEOUT_S)
        self._keys = keys_of(address)
        self._name = name
        self._member = member
        self._id = f"{settings.sink.instance}-{uuid.uuid4().hex}"
        self._session_ms = settings.sink.session_timeout_ms
        self._topics: Sequence[str] = ()
        self._tokens: dict[Key, int] = {}
        """Of the leases that we have."""
        self._answers: list[tuple[Place, str]] = []
        self._beat_at_s = 0.0

    def subscribe(self, topics: Sequence[str]) -> None:
        load_functions(self._connection)
        self._topics = topics

    def close(self) -> None:
        """Never raises: what is left is free when its time is over."""
        try:
            self._give_back(list(self._tokens))
            self._connection.call("ZREM", self._keys.members(self._name), self._id)
        except TransportError as error:
            _log.warning("%s", error)
        self._connection.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def consume(self, messages_max: int, wait_s: float) -> Iterator[Run]:
        now_s = time.monotonic()
        if now_s >= self._beat_at_s:
            self._beat_at_s = now_s + self._session_ms / 1_000 / BEATS
            try:
                self._beat()
            except TransportError as error:
                _log.warning("%s", error)
        answers, self._answers = self._answers, []
        for place, failure in answers:
            self._member.answered(place, failure)
        return self._runs(messages_max, now_s + wait_s)

    def _runs(self, messages_max: int, until_s: float) -> Iterator[Run]:
        while True:
            found = self._fetched()
            left = messages_max
            for (topic, partition), entries in found.items():
                run = self._run(topic, partition, entries, left)
                if run is not None:
                    left -= len(run.messages)
                    yield run
                if left <= 0:
                    return
            if left < messages_max or time.monotonic() >= until_s:
                return
            time.sleep(POLL_S)

    def _fetched(self) -> dict[Key, list[Any]]:
        wanted = self._reading()
        commands: list[Sequence[Argument]] = [
            ("XRANGE", self._keys.stream(*key), f"{self._positions[key]}-0", "+", "COUNT", ENTRIES_MAX)
            for key in wanted
        ]
        if not commands:
            return {}
        try:
            answers = self._connection.calls(commands)
        except TransportError as error:
            _log.warning("%s", error)
            time.sleep(POLL_S)
            return {}
        return {
            key: answer
            for key, answer in zip(wanted, answers, strict=True)
            if answer and not isinstance(answer, hiredis.ReplyError)
        }

    def _run(self, topic: str, partition: int, entries: list[Any], messages_max: int) -> Run | None:
        position = self._positions.get((topic, partition))
        if position is None:
            return None  # given back since
        pairs: list[tuple[int, bytes | None]] = []
        epoch = -1
        for entry in entries:
            for message in decode_entry(topic, partition, entry):
                if message.offset < position:
                    continue
                if (message.offset > position and pairs) or len(pairs) == messages_max:
                    break
                pairs.append((message.offset, message.value))
                position, epoch = message.offset + 1, message.leader_epoch
        if not pairs:
            return None
        self._positions[topic, partition] = position
        return Run(topic, partition, pairs, epoch)

    def bounds(self, place: Place, timeout_s: float, cached: bool = False) -> Bounds:
        state = self._keys.state(place.topic, place.partition)
        return bounds_of(self._connection.call("HMGET", state, "low", "next", timeout_s=timeout_s))

    # ── commits ──────────────────────────────────────────────────────────────────────────────────────────────

    def committed(self, places: Sequence[Place]) -> list[Place]:
        found = []
        for place in places:
            key = self._keys.place(place.topic, place.partition, self._name)
            offset, metadata = self._connection.call("HMGET", key, "offset", "metadata")
            word = (metadata or b"").decode()
            found.append(Place(place.topic, place.partition, -1 if offset is None else int(offset), word))
        return found

    def commit(self, place: Place) -> None:
        try:
            self._commit(place)
        except TransportError as error:
            self._answers.append((place, str(error)))
        else:
            self._answers.append((place, ""))

    def commit_now(self, places: Sequence[Place]) -> None:
        for place in places:
            self._commit(place)

    def _commit(self, place: Place) -> None:
        token = self._tokens.get((place.topic, place.partition), NOBODY)
        if token == NOBODY and self._topics:
            raise TransportError(f"Redis: {place.topic}-{place.partition} is another member's")
        self._call("commit", (place.topic, place.partition), token, place.offset, place.metadata)

    def _call(self, function: str, key: Key, *arguments: Argument) -> Any:
        keys, name = self._keys, self._name
        place = keys.place(*key, name)
        return self._connection.call(
            "FCALL", f"etl_2_{function}", 3, keys.stream(*key), keys.state(*key), place, name, *arguments
        )

    # ── what the server says ─────────────────────────────────────────────────────────────────────────────────

    def cluster_id(self, topic: str) -> str:
        """The topic's own: no two servers make the same. Of a copied one the source's: batches keep their tokens."""
        return topic_of(self._connection, self._keys, topic).cluster

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        return {topic: topic_of(self._connection, self._keys, topic).id for topic in topics}

    # ── leases ───────────────────────────────────────────────────────────────────────────────────────────────

    def _beat(self) -> None:
        """Say that we live, keep what we have, and come nearer to our share. Raises ``TransportError``."""
        living = self._living()
        self._keep()
        for number, topic in enumerate(self._topics):
            partitions = topic_of(self._connection, self._keys, topic).partitions
            place = (living.index(self._id) + number) % len(living)
            share = partitions // len(living) + (place < partitions % len(living))
            own = [key for key in self._tokens if key[0] == topic]
            self._give_back(own[share:])
            if taken := self._take(topic, partitions, share - len(own)):
                self._assign(taken)
        self._look_for_ends()

    def _take(self, topic: str, partitions: int, wanted: int) -> dict[Key, int]:
        """Tokens of as many as are ``wanted``, of those that are free."""
        taken: dict[Key, int] = {}
        for key in ((topic, partition) for partition in range(partitions)):
            if len(taken) >= wanted:
                break
            if key not in self._tokens and (token := self._call("lease", key, self._id, self._session_ms)):
                taken[key] = token
        return taken

    def _assign(self, taken: dict[Key, int]) -> None:
        self._tokens |= taken
        try:
            self._member.assigned([Place(*key) for key in taken])
        except TransportError:  # they are taken again with the next beat
            for key in taken:
                self._forget(key)
            raise

    def _living(self) -> list[str]:
        """By name, ourselves among them."""
        seconds, micros = self._connection.call("TIME")
        now_ms = int(seconds) * 1_000 + int(micros) // 1_000
        members = self._keys.members(self._name)
        self._connection.call("ZADD", members, now_ms, self._id)
        self._connection.call(
            "ZREMRANGEBYSCORE", members, "-inf", now_ms - FORGOTTEN_SESSIONS * self._session_ms
        )
        return sorted(name.decode() for name in self._connection.call("ZRANGE", members, 0, -1))

    def _keep(self) -> None:
        lost = []
        for key, token in list(self._tokens.items()):
            if self._call("lease", key, self._id, self._session_ms) != token:
                self._forget(key)
                lost.append(key)
        if lost:
            self._member.lost([Place(*key) for key in lost])

    def _give_back(self, keys: Sequence[Key]) -> None:
        if not keys:
            return
        self._member.revoked([Place(*key) for key in keys])
        for key in keys:
            self._forget(key)
            self._call("release", key, self._id)

    def _forget(self, key: Key) -> None:
        self._tokens.pop(key, None)
        self._leave_off(key)

    def _look_for_ends(self) -> None:
        """A partition that does not have what is read next."""
        for key in list(self._positions):
            bounds = self.bounds(Place(*key), self._session_ms / 1_000)
            position = self._positions.get(key)
            if position is not None and not bounds.low <= position <= bounds.high:
                self._member.gone(*key)
