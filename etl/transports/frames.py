"""Frames that are larger than a message of the raw topic: compressed, and what still does not fit, in numbered parts.

    no header            the payload's exact bytes
    ``zstd SIZE``        compressed; SIZE bytes when unpacked
    ``zstd SIZE 2/3``    the second of three parts of the compressed bytes

The parts of a frame bear its ``frame_sequence`` and follow each other on one partition, since they share its key.
Whoever reads the topic joins them (``FrameJoiner``), so that nobody above sees more or less than a frame.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from etl.errors import WireError
from etl.model.records import Frame
from etl.transports.kafka import frame_headers, frame_of
from etl.transports.message import Message
from etl.transports.publisher import Headers
from etl.transports.readable import readable

HEADER_ENCODING = "encoding"
CODEC = "zstd"
FRAME_BYTES_LIMIT = 64 << 20
"""Of a frame; a connection that brings a larger one ends, and its gap says so."""
PARTS_MAX = 1_024
"""Of a frame: a worker cuts them at ``frame_bytes_max``, which is seldom under 64 KiB."""
JOINING_MAX = 1_024
"""Connections of which a frame may be incomplete at once; beyond, the first such frame is given up."""


def raw_messages(frame: Frame, bytes_max: int) -> Iterator[tuple[bytes, Headers]]:
    """Values, of at most ``bytes_max`` each, and headers of the messages that carry ``frame``."""
    payload, headers = frame.payload, frame_headers(frame)
    if len(payload) <= bytes_max:
        yield payload, headers
        return
    packed = _zstd().compress(payload, asbytes=True)
    count = -(-len(packed) // bytes_max)
    for number in range(count):
        place = f" {number + 1}/{count}" if count > 1 else ""
        encoding = f"{CODEC} {len(payload)}{place}".encode()
        yield packed[number * bytes_max : (number + 1) * bytes_max], {**headers, HEADER_ENCODING: encoding}


class Piece(Struct, frozen=True):
    """What one message carries: ``frame.payload`` as it lies there, ``encoding`` as its header says, "" = whole."""

    frame: Frame
    encoding: str = ""


def piece_of(message: Message) -> Piece:
    """Raises ``WireError``."""
    frame = frame_of(message)
    encoding = dict(message.headers() or ()).get(HEADER_ENCODING, b"")
    return Piece(frame, encoding.decode(errors="replace") if isinstance(encoding, bytes) else str(encoding))


class FrameJoiner:
    """Of one partition, or of several after each other."""

    def __init__(self) -> None:
        self._joining: dict[str, list[Piece]] = {}
        """By connection, the parts of its last frame."""

    def add(self, piece: Piece) -> Frame | None:
        """The frame that ``piece`` is or completes. A part whose first ones never came gives none. Raises ``WireError``
        for bytes that cannot be unpacked."""
        connection = piece.frame.connection_id
        before = self._joining.pop(connection, [])
        if not piece.encoding:
            return piece.frame
        size, number, count = _read_encoding(piece)
        if count == 1:
            return _unpacked(piece.frame, [piece], size)
        is_next = before and before[0].frame.frame_sequence == piece.frame.frame_sequence
        parts = before if is_next else []
        parts.append(piece)
        if len(parts) != number:
            return None
        if number == count:
            return _unpacked(parts[0].frame, parts, size)
        if len(self._joining) >= JOINING_MAX:
            del self._joining[next(iter(self._joining))]
        self._joining[connection] = parts
        return None


def with_whole_frames(pieces: Iterable[tuple[int, Piece]]) -> list[tuple[int, Piece]]:
    """``pieces``, each with its offset, where a frame that lies in several is one, at the offset of its last. Those of
    which some are not among them, or that cannot be unpacked, stay as they are."""
    found: dict[int, Piece] = {}
    parts: dict[tuple[str, int], list[int]] = {}
    joiner = FrameJoiner()
    for offset, piece in pieces:
        found[offset] = piece
        if not piece.encoding:
            continue
        frame = piece.frame
        offsets = parts.setdefault((frame.connection_id, frame.frame_sequence), [])
        offsets.append(offset)
        with contextlib.suppress(WireError):
            whole = joiner.add(piece)
            if whole is not None:
                for one in offsets:
                    del found[one]
                found[offset] = Piece(whole)
    return list(found.items())


def frames_of(messages: Iterable[Message], reader: str = "raw topic") -> Iterator[Frame]:
    """The whole frames among ``messages``; what is none is passed over and counted (``readable``)."""
    joiner = FrameJoiner()
    frames = readable(messages, lambda message: joiner.add(piece_of(message)), reader)
    return (frame for frame in frames if frame is not None)


def _read_encoding(piece: Piece) -> tuple[int, int, int]:
    """Size when unpacked, number of the part, count of the parts."""
    try:
        codec, size, *place = piece.encoding.split(" ")
        number, count = map(int, place[0].split("/")) if place else (1, 1)
        if codec == CODEC and 0 < int(size) <= FRAME_BYTES_LIMIT and 0 < number <= count <= PARTS_MAX:
            return int(size), number, count
    except ValueError:
        pass
    raise WireError(f"{_name(piece.frame)}: encoding {piece.encoding!r:.60}")


def _unpacked(frame: Frame, parts: list[Piece], size: int) -> Frame:
    packed = b"".join(part.frame.payload for part in parts)
    try:
        payload = _zstd().decompress(packed, decompressed_size=size, asbytes=True)
    except (OSError, ValueError) as error:
        raise WireError(f"{_name(frame)}: {error}") from None
    return msgspec.structs.replace(frame, payload=payload)


def _name(frame: Frame) -> str:
    return f"frame {frame.frame_sequence} of {frame.connection_id}"


def _zstd() -> Any:
    import pyarrow as pa  # heavy, and needed for the rare frame alone

    return pa.Codec(CODEC)
