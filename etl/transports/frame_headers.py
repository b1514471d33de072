"""A frame's facts as the headers of its message on the raw topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from etl.errors import WireError
from etl.model.records import Frame, Source
from etl.transports.message import Message

HEADER_EXCHANGE = "exchange"
HEADER_ENDPOINT = "endpoint"
HEADER_RECEIVE_TIME_NS = "receive_time_ns"
HEADER_FRAME_SEQUENCE = "frame_sequence"
HEADER_SOURCE = "source"
HEADER_FRAME_BYTES = "frame_bytes"


def frame_headers(frame: Frame) -> dict[str, bytes]:
    return {
        HEADER_EXCHANGE: frame.exchange.encode(),
        HEADER_ENDPOINT: frame.endpoint.encode(),
        HEADER_RECEIVE_TIME_NS: b"%d" % frame.receive_time_ns,
        HEADER_FRAME_SEQUENCE: b"%d" % frame.frame_sequence,
        HEADER_SOURCE: frame.source.name.lower().encode(),
    }


class FrameHeaders:
    """``frame_headers`` of one connection's messages: what never changes is made once. The dict is always the same one:
    to be used before the next is asked for."""

    def __init__(self, exchange: str, endpoint: str, source: Source) -> None:
        self._headers = frame_headers(Frame(exchange, "", 0, endpoint, 0, b"", source))
        self._time_ns = 0

    def of(self, frame_sequence: int, receive_time_ns: int) -> dict[str, bytes]:
        headers = self._headers
        if receive_time_ns != self._time_ns:
            self._time_ns = receive_time_ns
            headers[HEADER_RECEIVE_TIME_NS] = b"%d" % receive_time_ns
        headers[HEADER_FRAME_SEQUENCE] = b"%d" % frame_sequence
        return headers

    def of_several(
        self, frame_sequence: int, receive_time_ns: int, payloads: Sequence[bytes]
    ) -> dict[str, bytes]:
        """Of the message that holds ``payloads``, frames that were received together, the first of them with this
        number; a dict of its own."""
        frame_bytes = " ".join(map(str, map(len, payloads))).encode()
        return {**self.of(frame_sequence, receive_time_ns), HEADER_FRAME_BYTES: frame_bytes}


def frame_of(message: Message) -> Frame:
    """The frame that a message of the raw topic carries; of several (``frame_bytes``), the first, with the bytes of
    all. Raises ``WireError``."""
    try:
        headers = cast(dict[str, bytes], dict(message.headers() or ()))
        return Frame(
            exchange=headers[HEADER_EXCHANGE].decode(),
            connection_id=(message.key or b"").decode(),
            frame_sequence=_int64(headers, HEADER_FRAME_SEQUENCE),
            endpoint=headers[HEADER_ENDPOINT].decode(),
            receive_time_ns=_int64(headers, HEADER_RECEIVE_TIME_NS),
            payload=message.value or b"",
            source=Source[headers[HEADER_SOURCE].decode().upper()],
        )
    except (KeyError, ValueError, AttributeError, TypeError) as error:
        raise WireError(f"{message.topic}[{message.partition}]@{message.offset}: header {error}") from None


def _int64(headers: dict[str, bytes], name: str) -> int:
    """A count or a time: not negative, and what the columns of every store hold. Raises ``ValueError``."""
    number = int(headers[name])
    if not 0 <= number < 1 << 63:
        raise ValueError(f"{name}: {number:.3g} is out of range")
    return number
