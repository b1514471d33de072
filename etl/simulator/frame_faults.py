"""Faults of frames on their way: what happens to the next ``count`` of them.

Each says what becomes of the frame's events: dropped, they are ``withheld`` in the truth (the venue had them, nobody
got them); doubled, they are sent twice; delayed, they are sent then; broken, they are withheld, and what is
sent instead is one ``invalid`` event.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from msgspec import Struct

from etl.model.times import NS_PER_S
from etl.simulator.session import Item
from etl.simulator.truth import BROKEN, TruthEvent


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """An order: ``count`` frames (or logins, connections, ids, times the rate), ``duration_s`` for what lasts,
    ``delay_s`` where something waits, ``retry_after_s`` for limits. ``channel`` restricts a frame fault (and ``mute``)
    to that channel: where the venue counts nothing, a frame that is lost on the way cannot be known to be missing."""

    kind: str
    count: int = 1
    duration_s: float = 1.0
    delay_s: float = 0.2
    retry_after_s: float = 1.0
    status: int = 503
    channel: str = ""


class Outgoing(Struct):
    """A frame on its way: its events, its bytes, whether it is sent, and when. One without ``items`` is not the
    market's: it goes to everybody, and is ``told`` to be something else."""

    items: Sequence[Item]
    payload: bytes
    is_sent: bool = True
    at_ns: int = 0
    told: Sequence[TruthEvent] = (BROKEN,)


NO_MESSAGE = b"\x07#~\x01"
"""No JSON at any place; in Protobuf the tag of no field; of MessagePack a number, behind which nothing may stand."""

FrameFault = Callable[["Outgoing", Fault, int, random.Random], list[Outgoing]]


def drop(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    frame.is_sent = False
    return [frame]


def duplicate(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    return [frame, Outgoing(frame.items, frame.payload)]


def delay(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    frame.at_ns = now_ns + int(fault.delay_s * NS_PER_S)
    return [frame]


def reorder(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    """A frame waits a moment, so that those after it overtake it."""
    frame.at_ns = now_ns + 1 + int(rng.random() * fault.delay_s * NS_PER_S)
    return [frame]


def garble(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    """Bytes turn into others, so that it is no message any more: in the middle of a text, at the beginning of what is
    none, where other text in a string would leave it a message."""
    first = max(0, len(frame.payload) // 2 - 2) if _is_text(frame.payload) else 0
    broken = frame.payload[:first] + NO_MESSAGE + frame.payload[first + len(NO_MESSAGE) :]
    return _instead(frame, broken)


def cut(frame: Outgoing, fault: Fault, now_ns: int, rng: random.Random) -> list[Outgoing]:
    """What is no text loses its last byte: without its last fields a message of Protobuf still is one."""
    size = len(frame.payload)
    kept = max(1, rng.randrange(size)) if _is_text(frame.payload) else size - 1
    return _instead(frame, frame.payload[:kept])


def _is_text(payload: bytes) -> bool:
    return payload[:1] in (b"{", b"[")


def _instead(frame: Outgoing, payload: bytes) -> list[Outgoing]:
    frame.is_sent = False
    return [frame, Outgoing((), payload)]


FRAME_FAULTS: dict[str, FrameFault] = {
    "drop": drop,
    "duplicate": duplicate,
    "reorder": reorder,
    "delay": delay,
    "garble": garble,
    "cut": cut,
}


class FrameFaults:
    """The orders that wait for frames, oldest first, and the frames that wait for their time."""

    def __init__(self, seed: int, channel_of: Callable[[str], str]) -> None:
        self._rng = random.Random(seed)
        self._channel_of = channel_of
        self._orders: list[tuple[Fault, int]] = []
        self._late: list[Outgoing] = []
        self.fired: dict[str, int] = {}

    def order(self, fault: Fault) -> None:
        self._orders.append((fault, fault.count))

    def note(self, kind: str) -> None:
        self.fired[kind] = self.fired.get(kind, 0) + 1

    def apply(self, frames: list[Outgoing], now_ns: int, deliverable: bool) -> list[Outgoing]:
        """The frames that go out now. Orders wait while nobody could see their effect."""
        out: list[Outgoing] = []
        for frame in frames:
            order = self._order_for(frame) if deliverable and frame.items else None
            out += [frame] if order is None else self._alter(frame, order, now_ns)
        if self._late:
            out += [frame for frame in self._late if frame.at_ns <= now_ns]
            self._late = [frame for frame in self._late if frame.at_ns > now_ns]
        return out

    def flush(self) -> list[Outgoing]:
        """Everything that still waits, in order: the venue stops."""
        late, self._late = self._late, []
        return late

    def _order_for(self, frame: Outgoing) -> int | None:
        """The place of the oldest order that this frame fits."""
        for place, (fault, _) in enumerate(self._orders):
            if not fault.channel or any(self._channel_of(i.stream) == fault.channel for i in frame.items):
                return place
        return None

    def _alter(self, frame: Outgoing, place: int, now_ns: int) -> list[Outgoing]:
        fault, left = self._orders.pop(place)
        if left > 1:
            self._orders.insert(place, (fault, left - 1))
        self.note(fault.kind)
        out: list[Outgoing] = []
        for result in FRAME_FAULTS[fault.kind](frame, fault, now_ns, self._rng):
            (self._late if result.at_ns > now_ns else out).append(result)
        return out
