"""Files of recorded sessions: one JSON object a line with ``receive_time_ns``, ``kind`` (``ws`` or ``rest``), ``frame``
(the exact text, or ``binary``, in base64) and, for requests, ``url``.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from msgspec import Struct

SHIPPED = Path(__file__).with_name("sessions")
WS, REST = "ws", "rest"
PAGE_NAMES = frozenset({"limit", "depth", "count", "sz", "size"})
"""Members of a query that say how much is wanted, not of what."""


class Line(Struct, frozen=True):
    frame: str
    kind: str = WS
    receive_time_ns: int = 0
    url: str = ""
    binary: str = ""
    """In base64, of a frame that is no text."""

    @property
    def payload(self) -> bytes:
        return base64.b64decode(self.binary) if self.binary else self.frame.encode()


class Asked(Struct, frozen=True):
    """What a request asked for: its path, its query without the size of the answer, and its body."""

    path: str
    query: tuple[tuple[str, str], ...]
    fragment: str = ""


def asked(url: str) -> Asked:
    parts = urlsplit(url)
    pairs = [(name, value) for name, value in parse_qsl(parts.query) if name not in PAGE_NAMES]
    return Asked(parts.path, tuple(sorted(pairs)), unquote(parts.fragment))


def find(directory: Path, exchange: str) -> Path | None:
    """The real session of ``exchange`` in ``directory``: its name up to the first dot, lines with receive times."""
    for path in sorted(directory.glob("*.jsonl*")):
        if path.name.split(".")[0] == exchange and next(lines(path)).receive_time_ns:
            return path
    return None


def shipped(exchange: str) -> Path | None:
    """The small session that comes with the code."""
    return find(SHIPPED, exchange)


def lines(path: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for text in file:
            yield decoder.decode(text)


def frames(path: Path) -> Iterator[bytes]:
    """What came on the socket."""
    return (line.payload for line in lines(path) if line.kind == WS)
