"""What a venue sent, by identity: the yardstick that the stores are held against.

Who makes an event says what it is: the simulator writes a line before each send, of the bytes and of the identities
that it put into them. Nothing is read back out of a payload, so no second parser can agree with a wrong first one.

    {"time_ns": 1732…, "endpoint": "stream", "fate": "sent", "position": 12, "digest": "6b1f…",
     "events": [["trade", "BTC-USDT", "3735683259", 1723161255342000000], ["ignored", "status", "", 0]]}

``fate`` is ``late`` for what is answered after the venue was told to stop: stores that have caught up by then
need not hold it. It is ``withheld`` where the venue had the events and did not deliver them: nobody was connected, or a
fault kept them back. ``position`` is the line of the recording that was played, 0 = none. ``endpoint`` is
``stream``, ``control`` (a venue's answer on the socket), or the path and query of a request; the first line of a
file is ``begin``: when this venue came to be.

``digest`` is what a frame in the raw topic is known by again (``digest_of``); of a daily file, whose lines are taken in
one by one, ``digests`` has one for each event instead.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import msgspec
from msgspec import Struct

SENT = "sent"
WITHHELD = "withheld"
LATE = "late"
STREAM = "stream"
CONTROL = "control"
BEGIN = "begin"

IGNORED = "ignored"
INVALID = "invalid"
FRAME = "frame"

ARCHIVE = "archive:"
"""Begins the endpoint of lines that were cut from a daily file."""
DIGEST_BYTES = 12
TAIL_BYTES = 65_536


CONTENTS_MAX = 65_536


class TruthEvent(Struct, frozen=True, array_like=True, gc=False):
    """``kind`` is a record's kind, or one of

    ``ignored``: left aside on purpose; ``symbol`` is then its name;
    ``invalid``: must be quarantined;
    ``frame``: recorded, of a venue whose identities nobody told. It is judged by whether it came, and what the parser
    made of it by whether every store holds it.
    """

    kind: str
    symbol: str
    record_key: str
    time_ns: int = 0


CONTROL_EVENT = TruthEvent(IGNORED, "response", "")
"""What a venue says of the connection itself."""
EMPTY = TruthEvent(IGNORED, "empty", "")
"""An answer without a row."""
BROKEN = TruthEvent(INVALID, "", "")
"""Bytes that are no message, or a message that nobody has documented."""
UNTOLD = TruthEvent(FRAME, "", "")


class TruthLine(Struct, frozen=True, gc=False, omit_defaults=True):
    time_ns: int
    endpoint: str
    fate: str
    events: Sequence[TruthEvent]
    position: int = 0
    digest: str = ""
    digests: Sequence[str] = ()


def digest_of(payload: bytes, place: str = "") -> str:
    """What a payload is known by; ``place`` tells equal answers to different requests apart (``place_of``)."""
    text = b"%b\n%b" % (place.encode(), payload) if place else payload
    return hashlib.blake2b(text, digest_size=DIGEST_BYTES).hexdigest()


def place_of(endpoint: str, exchange: str = "") -> str:
    """Where a request went: its path, query and body, or the path of a daily file without its ending; "" for a stream.

    ``endpoint`` is the truth's, or, with ``exchange``, that of a frame in the raw topic, which begins with an address.
    """
    if endpoint in (STREAM, CONTROL) or endpoint.startswith("ws"):
        return ""
    place = endpoint.removeprefix(ARCHIVE)
    if exchange:
        place = endpoint.partition(f"/{exchange}/")[2] or endpoint
    if endpoint.startswith(ARCHIVE):
        place = place.partition("#")[0].rpartition(".")[0]
    return unquote(place.strip("/?").replace("?#", "#"))


Contents = dict[str, int]
"""How often a content was sent on a connection: events without an id are told apart by it."""
CONTENT_END = "/#"
"""Ends a key made of content; the number of equal ones before it takes the place of ``#``."""


PLACED = "@"
"""The key of what has none but its place, on a connection that the venue does not know the name of: it is judged by the
frame that carried it. No event with a key of its own lies in the same frame."""


def numbered(found: Sequence[TruthEvent], contents: Contents) -> Sequence[TruthEvent]:
    """``found`` with the keys that are made of content completed; ``contents`` remembers them."""
    for event in found:
        if event.record_key.endswith(CONTENT_END):
            break
    else:
        return found
    complete = []
    for event in found:
        if event.record_key.endswith(CONTENT_END):
            name = f"{event.kind} {event.symbol} {event.record_key}"
            count = contents.get(name, 0)
            contents[name] = count + 1
            event = TruthEvent(event.kind, event.symbol, f"{event.record_key[:-1]}{count}", event.time_ns)
        complete.append(event)
    if len(contents) > CONTENTS_MAX:
        for oldest in list(islice(contents, CONTENTS_MAX // 2)):
            del contents[oldest]
    return complete


class TruthFile:
    """Append-only; a line is with the operating system before ``write`` returns, so it outlives a kill."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        _drop_torn_line(path)
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, lines: Iterable[TruthLine]) -> None:
        left = memoryview(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        while left:
            left = left[os.write(self._file, left) :]

    def close(self) -> None:
        os.close(self._file)


def path_of(state_path: Path, exchange: str) -> Path:
    return state_path / "truth" / f"{exchange}.jsonl"


def read(path: Path) -> Iterator[TruthLine]:
    """Every whole line; a last one torn by a kill was never sent."""
    decoder = msgspec.json.Decoder(TruthLine)
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield decoder.decode(line)


def _drop_torn_line(path: Path) -> None:
    """Cut a last line without its end, or the next one would join it."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        end = _end_of_last_line(file, size)
        if end != size:
            file.truncate(end)


def _end_of_last_line(file: BinaryIO, size: int) -> int:
    end = size
    while end:
        start = max(0, end - TAIL_BYTES)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
