"""What a recording tells: a venue's few paths to the identities of its frames.

A recorded event was made by nobody here, so nobody can say what it is but by looking. A venue whose recordings are to
be judged by identity has a table of where to look (``Told``); all others are judged by the frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from etl.simulator.history import Entry
from etl.simulator.truth import UNTOLD, TruthEvent
from etl.simulator.words import Template


class ToldForm(Struct, frozen=True):
    """``key`` names members of the event (``$u``), or ``$channel``; ``time`` is the member of its time, "" = none."""

    kind: str
    key: str
    time: str = ""


class Track(Protocol):
    """One symbol of a recording as it is played: its book, and by how much a later pass moves ids and times."""

    answer: bytes
    stream: str

    def load(self, answer: bytes) -> None:
        """The recorded snapshot."""

    def note(self, stream: str, data: dict[str, Any]) -> None:
        """Keep up with what is served."""

    def moved(self, data: dict[str, Any], now_ns: int) -> dict[str, Any] | None:
        """``data`` of a later pass; ``None`` for what is left out."""

    def begin_again(self, now_ns: int) -> dict[str, Any] | None:
        """The event that joins the book at the end to the book at the start, if any."""

    def resume(self, last: Mapping[str, int]) -> None:
        """Go on after the greatest ids of an earlier life, by kind."""

    @property
    def last_id(self) -> int:
        """Of the book, 0 = there is none yet."""

    def text(self) -> bytes:
        """The book as it is, as an answer."""


class Told(Struct, frozen=True, kw_only=True):
    """Where a frame names its stream, holds its event, and of that the type and the symbol. ``snapshot`` is the
    form of a recorded book, ``snapshot_path`` what its request's path ends with."""

    stream: str
    data: str
    tag: str
    untagged: str
    """The type of an event that names none."""
    symbol: str
    symbol_query: str
    forms: Mapping[str, ToldForm]
    time_unit_ns: int
    snapshot_path: str
    snapshot: ToldForm
    print_tag: str
    """The type of trades, which the history can give again."""
    print_id: str
    print_words: Mapping[str, str]
    """Word of a trade → its member."""
    track: type[Track]

    def open(self, payload: bytes) -> tuple[str, dict[str, Any]] | None:
        """The stream and the event of a frame; ``None`` for what a venue says beside events."""
        message = msgspec.json.decode(payload)
        if not (isinstance(message, dict) and self.stream in message):
            return None
        return message[self.stream], message[self.data]

    def wrap(self, stream: str, data: dict[str, Any]) -> bytes:
        return msgspec.json.encode({self.stream: stream, self.data: data})

    def event(self, unified: str, channel: str, data: Mapping[str, Any]) -> TruthEvent:
        """``UNTOLD`` for a type that has no form."""
        form = self.forms.get(data.get(self.tag, self.untagged))
        return UNTOLD if form is None else self._event(form, unified, channel, data)

    def snapshot_event(self, unified: str, answer: bytes) -> TruthEvent:
        return self._event(self.snapshot, unified, "", msgspec.json.decode(answer))

    def _event(self, form: ToldForm, unified: str, channel: str, data: Mapping[str, Any]) -> TruthEvent:
        time_ns = int(data.get(form.time) or 0) * self.time_unit_ns if form.time else 0
        return TruthEvent(form.kind, unified, Template(form.key)({**data, "channel": channel}), time_ns)

    def print_of(self, data: Mapping[str, Any]) -> Entry | None:
        """A trade as the history keeps it: in the words that it was written in."""
        if data.get(self.tag) != self.print_tag:
            return None
        words = {word: data[name] for word, name in self.print_words.items()}
        words["maker"] = str(words["maker"]).lower()
        time_ns = int(words["ms"]) * self.time_unit_ns
        words |= {"recorded": True, "number": data[self.print_id], "time_ns": time_ns}
        return Entry(data[self.print_id], time_ns, words)

    def first_prints(self, frames: Iterable[bytes]) -> dict[str, int]:
        """The first trade's id of every symbol."""
        mark = f'"{self.tag}":"{self.print_tag}"'.encode()
        found: dict[str, int] = {}
        for frame in frames:
            opened = self.open(frame) if mark in frame else None
            if opened:
                found.setdefault(opened[1][self.symbol], opened[1][self.print_id])
        return found
