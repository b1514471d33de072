"""Frames in messages of the raw topic: several in one, one in one, or one in several.

    neither header                  a frame's exact bytes
    ``frame_bytes`` ``120 0 98``    three frames of one socket read, one behind the other; their bytes each
    ``encoding`` ``zstd SIZE``      one frame, compressed; SIZE bytes when unpacked
    ``encoding`` ``zstd SIZE 2/3``  the second of three parts of the compressed bytes of one

The frames of one message were received together: they share its headers, and ``frame_sequence`` counts on from that of
the first. The parts of a frame bear its ``frame_sequence`` and follow each other on one partition, since they share its
key. Whoever reads the topic takes them apart (``pieces_of``) and joins them (``FrameJoiner``), so that nobody above
sees more or less than a frame.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Any

import msgspec
from msgspec import Struct

from etl.errors import WireError
from etl.model.records import Frame
from etl.transports.frame_headers import HEADER_FRAME_BYTES, frame_headers, frame_of
from etl.transports.message import Message
from etl.transports.publisher import Headers
from etl.transports.readable import readable

HEADER_ENCODING = "encoding"
CODEC = "zstd"
FRAME_BYTES_LIMIT = 64 << 20
"""Of a frame; a connection that brings a larger one ends, and its gap says so."""
TOGETHER_FRAMES_MAX = 256
TOGETHER_BYTES_MAX = 64 << 10
"""Of the frames that share a message: beyond, what a message costs is not felt, and who reads it holds it whole."""
PARTS_MAX = 1_024
"""Of a frame: a worker cuts them at ``frame_bytes_max``, which is seldom under 64 KiB."""
SIZE_DIGITS_MAX = 10
"""Of a frame's bytes as text."""
FRAME_SEQUENCE_LIMIT = 1 << 63
"""What the columns of stores hold lies below."""
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


def together(payloads: Sequence[bytes], bytes_max: int) -> Iterator[Sequence[bytes]]:
    """``payloads`` cut, in their order, by what shares a message: at most ``bytes_max`` bytes, or one frame."""
    start = size = 0
    limit = min(bytes_max, TOGETHER_BYTES_MAX)
    for number, payload in enumerate(payloads):
        if number > start and (size + len(payload) > limit or number - start == TOGETHER_FRAMES_MAX):
            yield payloads[start:number]
            start, size = number, 0
        size += len(payload)
    if start < len(payloads):
        yield payloads[start:]


class Piece(Struct, frozen=True):
    """What a message has of a frame: ``frame.payload`` as it lies there, ``encoding`` as it says, "" = whole."""

    frame: Frame
    encoding: str = ""


def pieces_of(message: Message) -> Sequence[Piece]:
    """The frames that ``message`` holds, or the one of which it has a part. Raises ``WireError``."""
    frame = frame_of(message)
    headers = dict(message.headers() or ())
    sizes = headers.get(HEADER_FRAME_BYTES)
    if sizes is not None:
        return [Piece(one) for one in _apart(frame, sizes)]
    encoding = headers.get(HEADER_ENCODING, b"")
    return (
        Piece(frame, encoding.decode(errors="replace") if isinstance(encoding, bytes) else str(encoding)),
    )


def _apart(message: Frame, frame_bytes: bytes) -> Iterator[Frame]:
    """The frames that lie behind each other in ``message.payload``. Raises ``WireError``."""
    payload, first = message.payload, message.frame_sequence
    words = frame_bytes.split()
    if not (
        0 < len(words) <= TOGETHER_FRAMES_MAX
        and b"".join(words).isdigit()
        and max(map(len, words)) <= SIZE_DIGITS_MAX
        and sum(map(int, words)) == len(payload)
        and first + len(words) <= FRAME_SEQUENCE_LIMIT
    ):
        raise WireError(
            f"{_name(message)}: frame_bytes {frame_bytes!r:.60} of a message of {len(payload)} bytes"
        )
    ends = accumulate(map(int, words))
    start = 0
    for number, end in enumerate(ends, first):
        yield msgspec.structs.replace(message, frame_sequence=number, payload=payload[start:end])
        start = end


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
    """``pieces``, each with the offset of its message, where a frame that lies in several is one, at the offset of its
    last. Those of which some are not among them, or that cannot be unpacked, stay as they are."""
    found: dict[int, tuple[int, Piece]] = {}
    parts: dict[tuple[str, int], list[int]] = {}
    joiner = FrameJoiner()
    for number, (offset, piece) in enumerate(pieces):
        found[number] = offset, piece
        if not piece.encoding:
            continue
        frame = piece.frame
        numbers = parts.setdefault((frame.connection_id, frame.frame_sequence), [])
        numbers.append(number)
        with contextlib.suppress(WireError):
            whole = joiner.add(piece)
            if whole is not None:
                for one in numbers:
                    del found[one]
                found[number] = offset, Piece(whole)
    return list(found.values())


def frames_of(messages: Iterable[Message], reader: str = "raw topic") -> Iterator[Frame]:
    """The whole frames among ``messages``; what is none is passed over and counted (``readable``)."""
    joiner = FrameJoiner()

    def read(message: Message) -> list[Frame]:
        return [whole for piece in pieces_of(message) if (whole := joiner.add(piece)) is not None]

    return chain.from_iterable(readable(messages, read, reader))


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
