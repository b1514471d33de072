"""A consumer group of Kafka. All on the thread that consumes: the client's calls exclude one another, and consuming
would starve a commit from another thread. What concerns the ``Member`` is served from within ``consume``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as ClientMessage

from etl.errors import MembershipLost, TransportError
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.transports.group import Member, Place, Run
from etl.transports.kafka_messages import leader_epoch_of
from etl.transports.kafka_topic_ends import describe_topics
from etl.transports.ranges import Bounds

REBALANCE_WITHIN_MS = 60_000
"""How long the group waits for a member that does not join again, 5 minutes by default: one that was killed while it
was joining is not noticed before. Longer than anything of a member keeps us from the consumer."""
REQUEST_TIMEOUT_S = 30.0
RETRY_S = 0.05

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class KafkaGroup:
    """``fetched_bytes_max``: of what the client reads ahead. ``instance``: a name that outlives restarts, "" = none."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        member: Member,
        *,
        session_timeout_ms: int,
        fetched_bytes_max: int,
        instance: str = "",
    ) -> None:
        self._settings = settings
        self._member = member
        self._consumer = kafka_clients.consumer(
            settings,
            name,
            {
                # an offset that is gone is an error, never a silent jump
                "auto.offset.reset": "error",
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": session_timeout_ms,
                "heartbeat.interval.ms": session_timeout_ms // 3,
                "max.poll.interval.ms": REBALANCE_WITHIN_MS,
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 1_000,
                "on_commit": self._on_commit,
                **({"group.instance.id": instance} if instance else {}),
                "queued.max.messages.kbytes": fetched_bytes_max >> 10,
            },
            logger=_log,
        )

    def subscribe(self, topics: Sequence[str]) -> None:
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def close(self) -> None:
        self._consumer.close()

    # ── reading ──────────────────────────────────────────────────────────────────────────────────────────────

    def consume(self, messages_max: int, wait_s: float) -> Iterator[Run]:
        return self._runs(self._consumer.consume(messages_max, wait_s))

    def _runs(self, messages: Sequence[ClientMessage]) -> Iterator[Run]:
        """Every message passes here: it is asked for nothing that is not needed."""
        topic, partition, next_offset = "", -1, -1
        pairs: list[tuple[int, bytes | None]] = []
        last: Any = None
        for message in messages:
            error = message.error()
            offset = cast(int, message.offset())
            follows = offset == next_offset and message.partition() == partition and message.topic() == topic
            if pairs and (error is not None or not follows):
                yield Run(topic, partition, pairs, leader_epoch_of(last))
                pairs = []
            if error is not None:
                self._on_message_error(message, error)
                next_offset = -1
                continue
            if not follows:
                topic, partition = cast(str, message.topic()), cast(int, message.partition())
            pairs.append((offset, message.value()))
            next_offset, last = offset + 1, message
        if pairs:
            yield Run(topic, partition, pairs, leader_epoch_of(last))

    def _on_message_error(self, message: ClientMessage, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._member.gone(cast(str, message.topic()), cast(int, message.partition()))
            return
        if error.fatal() or error.code() == KafkaError._FATAL:  # as a message's error it is not marked
            raise MembershipLost(f"Kafka: {error.str()}")
        _log.warning("Kafka: %s", error.str())

    def begin(self, places: Sequence[Place]) -> None:
        self._consumer.incremental_assign([_client_place(place) for place in places])

    def begin_again(self, place: Place) -> None:
        # after the error of an offset that is gone the client refuses to seek
        at = [_client_place(place)]
        self._consumer.incremental_unassign(at)
        self._consumer.incremental_assign(at)

    def end(self, places: Sequence[Place]) -> None:
        former = [_client_place(place) for place in places]
        self._consumer.resume(former)
        self._consumer.incremental_unassign(former)

    def pause(self, place: Place) -> None:
        self._consumer.pause([_client_place(place)])

    def resume(self, place: Place) -> None:
        # what the client had fetched before the pause is given up
        at = _client_place(place)
        self._consumer.seek(at)
        self._consumer.resume([at])

    def bounds(self, place: Place, timeout_s: float, cached: bool = False) -> Bounds:
        try:
            return Bounds(
                *self._consumer.get_watermark_offsets(_client_place(place), timeout=timeout_s, cached=cached)
            )
        except KafkaException as error:
            raise _failed(error, f"watermarks of {place.topic}-{place.partition}: ") from None

    # ── commits ──────────────────────────────────────────────────────────────────────────────────────────────

    def committed(self, places: Sequence[Place]) -> list[Place]:
        asked = [TopicPartition(place.topic, place.partition) for place in places]
        found = _waited_out(
            "offsets of the group", lambda: self._consumer.committed(asked, timeout=REQUEST_TIMEOUT_S)
        )
        for each in found:
            if each.error is not None:
                raise TransportError(f"Kafka: offset of {each.topic}: {each.error.str()}")
        return [_place(each) for each in found]

    def commit(self, place: Place) -> None:
        try:
            self._consumer.commit(offsets=[_client_place(place)], asynchronous=True)
        except KafkaException as error:
            raise _failed(error) from None

    def commit_now(self, places: Sequence[Place]) -> None:
        try:
            self._consumer.commit(offsets=[_client_place(place) for place in places], asynchronous=False)
        except KafkaException as error:
            raise _failed(error) from None

    def _on_commit(self, error: KafkaError | None, committed: list[TopicPartition]) -> None:
        for each in committed:
            failure = each.error or error
            self._member.answered(_place(each), "" if failure is None else failure.str())

    # ── what the cluster says ────────────────────────────────────────────────────────────────────────────────

    def cluster_id(self, topic: str) -> str:
        """Never by ``_consumer.list_topics``: asked while an assignment is served from within ``consume``, it lets the
        client forget that it is within a call, and the next line of its log ends the process (``Assertion `cs !=
        NULL' failed``, confluent-kafka 2.16)."""
        asking = kafka_clients.admin(self._settings)
        metadata = _waited_out(
            "the cluster's id", lambda: asking.list_topics(topic, timeout=REQUEST_TIMEOUT_S)
        )
        return str(metadata.cluster_id)

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        try:
            described = describe_topics(self._settings, sorted(topics), REQUEST_TIMEOUT_S)
        except (KafkaException, TimeoutError) as error:
            raise TransportError(
                f"Kafka at {self._settings.kafka_bootstrap}: {str(error) or 'no answer'}"
            ) from None
        return {topic: str(of.topic_id) for topic, of in described.items()}

    # ── assignment ───────────────────────────────────────────────────────────────────────────────────────────

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        if assigned:
            self._member.assigned([_place(each) for each in assigned])

    def _on_revoke(self, consumer: Consumer, revoked: list[TopicPartition]) -> None:
        self._member.revoked([_place(each) for each in revoked])

    def _on_lost(self, consumer: Consumer, lost: list[TopicPartition]) -> None:
        self._member.lost([_place(each) for each in lost])


def _place(at: TopicPartition) -> Place:
    epoch = -1 if at.leader_epoch is None else at.leader_epoch
    return Place(at.topic, at.partition, at.offset if at.offset >= 0 else -1, at.metadata or "", epoch)


def _client_place(place: Place) -> TopicPartition:
    at = place.topic, place.partition, place.offset
    if not place.metadata:
        return TopicPartition(*at)
    return TopicPartition(*at, place.metadata, place.leader_epoch)


def _failed(error: KafkaException, what: str = "") -> TransportError:
    return TransportError(f"Kafka: {what}{error.args[0].str()}")


def _waited_out(what: str, ask: Callable[[], _T]) -> _T:
    """What a broker tells that just starts, or a coordinator that just moved. Raises ``TransportError``."""
    deadline_s = time.monotonic() + REQUEST_TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if time.monotonic() > deadline_s:
                raise _failed(error, f"{what}: ") from None
        time.sleep(RETRY_S)
