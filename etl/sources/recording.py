"""Frames from files: recordings (one JSON object a line, ``{"kind": "ws", "frame": "…", …}``) or bare frames,
one a line; gzipped or not. What a line is, it tells by itself; the file's name says nothing.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader

import msgspec
from msgspec import Struct

from etl.errors import EtlError
from etl.model.records import Frame, Source
from etl.sources.lines import bounded_lines
from etl.transports.frames import FRAME_BYTES_LIMIT

LINE_BYTES_MAX = 2 * FRAME_BYTES_LIMIT
"""A frame of the greatest size, and what it takes to write it as JSON."""
_GZIP_MAGIC = b"\x1f\x8b"


class RecordedLine(Struct, gc=False):
    """One line of a recording. ``kind`` is ``ws`` or ``rest``; ``frame`` is the exact text that came, ``binary``, in
    base64, the bytes of a binary message."""

    kind: str
    frame: str = ""
    binary: bytes = b""
    receive_time_ns: int = 0
    connection: str | int = ""
    url: str = ""
    channel: str = ""


def read_lines(file: BufferedReader) -> Iterator[bytes]:
    """The lines of ``file`` without their ends, unpacked if it is gzip. Raises ``EtlError`` if that is
    damaged, and for a line of more than ``LINE_BYTES_MAX``."""
    packed = file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
    try:
        for line in bounded_lines(gzip.GzipFile(fileobj=file) if packed else file, LINE_BYTES_MAX):
            yield line.rstrip(b"\r\n")
    except ValueError as error:
        raise EtlError(str(error)) from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise EtlError(f"the gzip data is damaged or cut: {error}") from None


def frames(lines: Iterable[bytes], exchange: str, source: Source = Source.REPLAY) -> Iterator[Frame]:
    """One frame a line, blank ones too; ``frame_sequence`` is the line's number, from 1.

    Answers to requests (``kind`` ``rest``) are history: they carry ``BACKFILL``, as they would live.
    """
    decode = msgspec.json.Decoder(RecordedLine).decode
    for number, line in enumerate(lines, 1):
        try:
            recorded = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield Frame(exchange, "", number, "", 0, line, source)
            continue
        yield Frame(
            exchange,
            str(recorded.connection),
            number,
            recorded.url or recorded.channel,
            recorded.receive_time_ns,
            recorded.binary or recorded.frame.encode("utf-8", "surrogatepass"),
            Source.BACKFILL if recorded.kind == "rest" else source,
        )
