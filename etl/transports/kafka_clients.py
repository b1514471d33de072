"""Kafka's clients: all are made here, with no default left to chance, and let in as the cluster asks.

``kafka.check()`` holds which settings of access go together; docs/security.md shows how to use them. A cluster of one's
own is asked once per process before its first client is made: librdkafka would try for ever what is refused.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from etl.errors import TransportError, UsageError
from etl.settings import Settings
from etl.settings.sections import Kafka

ADMINS_MAX = 4
ADMIN_RECONNECT_MAX_MS = 250
"""A kept client would wait 10 s for a broker that has long started again."""
CLIENT_FIRST_S = 0.5
"""How much longer we wait than the client, whose time-out says why."""
ACCESS_WITHIN_S = 3.0
ACCESS_FIRST_WITHIN_S = 8.0
"""Where nothing was heard yet, neither an answer nor an error: on a busy machine even a refusal takes its time. Less
than the 10 s after which the client takes a broker that says nothing for one that hangs up."""
ACCESS_POLL_S = 0.2

_T = TypeVar("_T")

_log = logging.getLogger(__name__)

_WHERE = re.compile(r"^\w+://[^ ]+: |\s*\(after \d+ms in state \w+\)$")
_CONNECTED = re.compile(r" in state (?!CONNECT|TRY_CONNECT)\w+\)$")
_OTHER_PROTOCOL = "is another kafka_security_protocol than {} what it listens with?"
_REMEDIES = {
    "SASL ": "look at kafka_user, kafka_password and kafka_sasl_mechanism",
    "SSL alert": "look at kafka_certificate_file",
    "PLAINTEXT broker listener": _OTHER_PROTOCOL,
    "SSL handshake failed": "look at kafka_ca_file, and whether the certificate names this host",
}
"""What a refusal's text has → what to do about it; the first that fits."""


def producer(settings: Settings, options: Mapping[str, Any] | None = None, **arguments: Any) -> Producer:
    """Idempotent, every replica acknowledges, never gives up by itself, bounded in messages and bytes."""
    config = {
        "enable.idempotence": True,
        "acks": "all",
        "message.timeout.ms": 0,
        "message.max.bytes": settings.producer.message_bytes_max,
        "queue.buffering.max.messages": settings.producer.queue_messages_max,
        "queue.buffering.max.kbytes": settings.producer.queue_bytes_max >> 10,
        "linger.ms": settings.producer.linger_ms,
        "compression.type": "lz4",
        "partitioner": "murmur2_random",
    }
    return Producer({**_cluster(settings), **config, **(options or {})}, **_logged(arguments))


def consumer(
    settings: Settings, group: str, options: Mapping[str, Any] | None = None, **arguments: Any
) -> Consumer:
    """Offsets are committed by the reader alone, after it has written."""
    config = {
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "fetch.message.max.bytes": settings.producer.message_bytes_max,
        "allow.auto.create.topics": False,
    }
    return Consumer({**_cluster(settings), **config, **(options or {})}, **_logged(arguments))


def _logged(arguments: dict[str, Any]) -> dict[str, Any]:
    """Without a logger the client writes to the standard error, past every setting of ours."""
    return {"logger": _log, **arguments}


@lru_cache(maxsize=ADMINS_MAX)
def admin(settings: Settings) -> AdminClient:
    """Kept for the process: each has threads and connections of its own, and none is let go while it waits for an
    answer. What matters of its log arrives as an error.

    Never ``describe_cluster``: the client ends the process (``Assertion `rko_result' failed``, librdkafka 2.16) when
    the broker names none, as one does that starts, or whose heartbeat came late. ``list_topics`` tells as much.
    """
    config = {"log_level": 0, "reconnect.backoff.max.ms": ADMIN_RECONNECT_MAX_MS}
    return AdminClient({**_cluster(settings), **config})


def answer(asked: Future[_T], timeout_s: float) -> _T:
    """What ``admin`` was asked with ``request_timeout=timeout_s``. Raises ``KafkaException``, ``TimeoutError``."""
    return asked.result(timeout_s + CLIENT_FIRST_S)


def _cluster(settings: Settings) -> dict[str, Any]:
    """Where the cluster is, who we are, and whom we trust. Raises ``TransportError`` if it refuses us."""
    if settings.kafka.url:
        _require_access(settings.kafka)
    return {"bootstrap.servers": settings.kafka_bootstrap, **_access(settings.kafka)}


def _access(kafka: Kafka) -> dict[str, Any]:
    config: dict[str, Any] = {"security.protocol": kafka.security_protocol}
    if kafka.over_tls:
        config |= {
            "enable.ssl.certificate.verification": True,
            "ssl.endpoint.identification.algorithm": "https" if kafka.verify_host else "none",
            "ssl.ca.location": kafka.ca_file or "probe",  # where systems keep their authorities
        }
        if kafka.certificate_file:
            config |= {
                "ssl.certificate.location": kafka.certificate_file,
                "ssl.key.location": kafka.key_file,
                "ssl.key.password": kafka.key_password,
            }
    if kafka.over_sasl:
        config |= {
            "sasl.mechanism": kafka.sasl_mechanism,
            "sasl.username": kafka.user,
            "sasl.password": kafka.password,
        }
    return config


@lru_cache(maxsize=8)
def _require_access(kafka: Kafka) -> None:
    """Raises ``TransportError`` in one line if the cluster refuses us; one that is down is waited for later."""
    errors: list[KafkaError] = []
    asked = {"bootstrap.servers": kafka.url, "log_level": 0, "error_cb": errors.append}
    try:
        asking = AdminClient(_access(kafka) | asked)
    except KafkaException as refused:  # a file that it cannot read
        raise UsageError(f"Kafka at {kafka.url}: {refused.args[0].str()}") from None
    began_s = time.monotonic()
    while time.monotonic() - began_s < (ACCESS_WITHIN_S if errors else ACCESS_FIRST_WITHIN_S):
        try:
            asking.list_topics(timeout=ACCESS_POLL_S)
        except KafkaException:
            asking.poll(0)
        else:
            return
        for error in errors:
            for words, remedy in _REMEDIES.items():
                if words in error.str():
                    raise _refused(kafka, _WHERE.sub("", error.str()), remedy)
    if hangs_up(errors):
        raise _refused(kafka, "it hangs up", _OTHER_PROTOCOL)


def hangs_up(errors: Sequence[KafkaError]) -> bool:
    """Whether a cluster that gave only ``errors`` was reached, and hung up without a word.

    Mostly the client tells of no more than that all brokers are down. If it was writing when the broker closed, it
    tells of a broken pipe as well, and in which state: one that is not there fails in the state CONNECT.
    """
    return bool(errors) and all(
        error.code() == KafkaError._ALL_BROKERS_DOWN
        or (error.code() == KafkaError._TRANSPORT and _CONNECTED.search(error.str()))
        for error in errors
    )


def _refused(kafka: Kafka, reason: str, remedy: str) -> TransportError:
    return TransportError(f"Kafka at {kafka.url}: {reason}; {remedy.format(kafka.security_protocol)}")
