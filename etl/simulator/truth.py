"""What a venue sent, by identity: the yardstick that the stores are held against.

The simulator writes a line before each send:

    {"time_ns": 1732…, "endpoint": "stream", "fate": "sent", "position": 12,
     "events": [["trade", "BTC-USDT", "3735683259", 1723161255342000000], ["ignored", "status", "", 0]]}

``fate`` is ``late`` for what is answered after the venue was told to stop: stores that have caught up by then
need not hold it. It is ``withheld`` where the venue had the events and did not deliver them: nobody was connected, or a
fault kept them back. ``position`` is the line of the recording that was played, 0 = none. ``endpoint`` is
``stream``, ``control`` (a venue's answer on the socket), or the path and query of a request; the first line of a
file is ``begin``: when this venue came to be.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from etl.simulator.identities import TruthEvent, events

__all__ = [
    "BEGIN",
    "CONTROL",
    "LATE",
    "SENT",
    "STREAM",
    "WITHHELD",
    "TruthEvent",
    "TruthFile",
    "TruthLine",
    "events",
]

SENT = "sent"
WITHHELD = "withheld"
LATE = "late"
STREAM = "stream"
CONTROL = "control"
BEGIN = "begin"

TAIL_BYTES = 65_536


class TruthLine(Struct, frozen=True, gc=False):
    time_ns: int
    endpoint: str
    fate: str
    events: list[TruthEvent]
    position: int = 0


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
