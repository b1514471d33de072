"""A recorded session, served once, or over and over with ids and times moved on.

Frames are served exactly as they were recorded, whatever the venue; requests get the answers that were recorded,
each from its moment on. Where a venue has a table of what its recordings tell (``told.py``), the truth names each
event, books are followed, and with ``loop`` each pass goes on where the last one ended. Without one, a frame stands for
itself, and the recording is played once: nobody could move its ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from etl.model.times import NS_PER_S
from etl.simulator.history import PRINTS, History
from etl.simulator.market import Listing
from etl.simulator.pace import Pace
from etl.simulator.recording import REST, WS, Asked, Line, asked, lines
from etl.simulator.session import BURST_ITEMS, Item, RecordedResponse
from etl.simulator.told import Told, Track
from etl.simulator.truth import CONTROL_EVENT, UNTOLD
from etl.simulator.venue import Venue


class Served(Struct, frozen=True):
    """The last line of a recording that was served, and the greatest ids that went out, by kind."""

    position: int = 0
    last: Mapping[str, int] = {}


NOTHING = Served()


class RecordingSession:
    """``rate`` in events/s, 0 = no pace, ``None`` = as recorded, or by ``pace``. ``before`` is what an earlier life has
    sent. ``by_stream``: a client gets the market data that it asks for, and nothing that was said to who recorded,
    where the venue can tell (``address.py``); else all of it."""

    label = "recording"

    def __init__(
        self,
        venue: Venue,
        path: Path,
        rate: float | None = None,
        *,
        loop: bool = False,
        before: Served = NOTHING,
        history: History | None = None,
        pace: Pace | None = None,
        by_stream: bool = False,
    ) -> None:
        self.history = history or History()
        self.skew_ns = 0
        self.tempo = 1
        self.finished = False
        self._venue = venue
        self._told = venue.told
        self._path = path
        self._rate = rate
        self._pace = pace
        self._loop = loop and venue.told is not None
        self._by_stream = by_stream
        self._has_address = by_stream and venue.address is not None
        self._symbols, self._requests = _contents(path, venue.told)
        if self._has_address:
            venue.list_recorded(*_names(path, venue))
        elif by_stream:
            venue.list_recorded(sorted(self._symbols))
        self._answers: dict[Asked, bytes] = {}
        self._lines = enumerate(lines(path), 1)
        self._next: tuple[int, Line] | None = None
        self._played_from_ns = self._recorded_from_ns = self._last_ns = 0
        self._owed = 0.0
        self._tracks: dict[str, Track] = {}
        self._streams: dict[str, str] = {}
        self._resume(before)

    def _resume(self, before: Served) -> None:
        """Go on after the last line that was sent; a loop goes on with a new pass after the last ids."""
        if not before.position:
            return
        for position, line in self._lines:
            self._next = (position, line)
            if not self._loop and position > before.position:
                return
            self._play(0)
        if self._loop:
            for track in self._tracks.values():
                track.resume(before.last)
            self._next = (0, Line(""))

    def subscribe(self, stream: str) -> None:
        """A recording has what it has; the connection's own streams choose among it."""

    def listing(self, symbol: str) -> Listing:
        raise LookupError(f"{symbol}: a recording has no market behind it")

    def end(self, symbol: str) -> None:
        """A recording goes on as it went."""

    def snapshot(self, symbol: str, now_ns: int) -> RecordedResponse | None:
        """The recorded answer for the first who asks, and the book as it is now for all others; ``None`` until
        the recording has come to its snapshot. Raises ``LookupError`` for a symbol that is not in it."""
        if self._told is None or symbol not in self._symbols:
            raise LookupError(f"symbol {symbol} is not recorded")
        track = self._tracks.get(symbol)
        if track is None or not track.last_id:
            return None
        answer, track.answer = track.answer or track.text(), b""
        return RecordedResponse(
            answer, self._told.snapshot_event(self._venue.instrument(symbol).unified, answer)
        )

    def recorded(self, url: str) -> RecordedResponse | None:
        """The answer that was recorded last for this path and query, ``None`` until the recording has come to it.
        Raises ``LookupError`` for what it has no answer to."""
        request = asked(url)
        if request not in self._requests:
            raise LookupError(f"{url} is not recorded")
        answer = self._answers.get(request)
        return None if answer is None else RecordedResponse(answer, UNTOLD)

    def due(self, now_ns: int) -> list[Item]:
        items: list[Item] = []
        for _ in range(self._count(now_ns)):
            line = self._peek()
            if line is None and self._pace is not None:
                self._pace.end(self._venue.exchange)
            if line is None or (self._rate is None and not self._is_due(line[1], now_ns)):
                break
            items += self._play(now_ns)
        return items

    def _count(self, now_ns: int) -> int:
        if not self._rate:
            return BURST_ITEMS
        elapsed_s = (now_ns - self._last_ns) / NS_PER_S if self._last_ns else 0.0
        self._owed += self._rate * self.tempo * min(1.0, elapsed_s)
        self._last_ns = now_ns
        count = int(self._owed)
        self._owed -= count
        return count

    def _is_due(self, line: Line, now_ns: int) -> bool:
        if self._pace is not None:
            return self._pace.is_due(self._venue.exchange, line.receive_time_ns, now_ns)
        if not self._played_from_ns:
            self._played_from_ns, self._recorded_from_ns = now_ns, line.receive_time_ns
        return line.receive_time_ns - self._recorded_from_ns <= now_ns - self._played_from_ns

    def _peek(self) -> tuple[int, Line] | None:
        """The line to come and its number; a pass that ended begins again, if it may."""
        if self._next is None:
            self._next = next(self._lines, None)
            if self._next is None and self._loop:
                self._lines = enumerate(lines(self._path), 1)
                self._next = (0, Line(""))
            self.finished = self._next is None
        return self._next

    def _play(self, now_ns: int) -> list[Item]:
        assert self._next is not None
        (position, line), self._next = self._next, None
        if position == 0:
            return self._begin_again(now_ns)
        if line.kind == REST:
            self._load(line)
            return []
        payload = line.payload
        if self._told is None:
            if not self._has_address:
                return [Item("", payload, UNTOLD, position)]
            whole, told = _market_data(self._venue, payload)
            if len(told) == 1:
                return [Item(told[0][0], whole, UNTOLD, position)]
            return [Item(stream, part, UNTOLD, position, whole) for stream, part in told]
        opened = self._told.open(payload)
        if opened is None:
            return [] if self._by_stream else [Item("", payload, CONTROL_EVENT, position)]
        stream, data = opened
        if self._loop:
            moved = self._track(data).moved(data, now_ns)
            if moved is None:
                return []
            data, payload = moved, self._told.wrap(stream, moved)
        return [self._item(self._told, stream, data, payload, position)]

    def _item(self, told: Told, stream: str, data: dict[str, Any], payload: bytes, position: int) -> Item:
        self._track(data).note(stream, data)
        instrument = self._venue.instrument(str(data.get(told.symbol, "")))
        entry = told.print_of(data)
        if entry is not None and entry.time_ns > 0:  # a loop that is resumed is played without times
            self.history.add(instrument.symbol, PRINTS, entry)
        if stream not in self._streams:
            (self._streams[stream],) = self._venue.expand(stream)
        channel = self._venue.split(stream)[1]
        return Item(self._streams[stream], payload, told.event(instrument.unified, channel, data), position)

    def _begin_again(self, now_ns: int) -> list[Item]:
        assert self._told is not None
        self._played_from_ns = 0
        items = []
        for symbol, track in self._tracks.items():
            joint = track.begin_again(now_ns)
            if joint:
                joint[self._told.symbol] = symbol
                payload = self._told.wrap(track.stream, joint)
                items.append(self._item(self._told, track.stream, joint, payload, 0))
        return items

    def _load(self, line: Line) -> None:
        request, answer = asked(line.url), line.payload
        self._answers[request] = answer
        if self._told is not None and request.path.endswith(self._told.snapshot_path):
            track = self._track({self._told.symbol: dict(request.query).get(self._told.symbol_query, "")})
            if not track.last_id:
                track.load(answer)

    def _track(self, data: Mapping[str, Any]) -> Track:
        assert self._told is not None
        symbol = str(data.get(self._told.symbol, ""))
        if symbol not in self._tracks:
            self._tracks[symbol] = self._told.track()
        return self._tracks[symbol]


def _market_data(venue: Venue, payload: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Of a recorded frame: its bytes, and of each event stream and bytes. What was said to who recorded is left out."""
    if venue.events_per_frame_max == 1:
        stream = venue.stream_of(payload)
        return payload, [] if stream is None else [(stream, payload)]
    try:
        parts = [bytes(part) for part in msgspec.json.decode(payload, type=list[msgspec.Raw])]
    except (msgspec.DecodeError, UnicodeDecodeError):
        return payload, []
    told = [(stream, part) for part in parts if (stream := venue.stream_of(part)) is not None]
    is_whole = len(told) == len(parts)
    return payload if is_whole else b"[%b]" % b",".join([part for _, part in told]), told


def _names(path: Path, venue: Venue) -> tuple[list[str], list[str]]:
    """The symbols and the channels that have frames."""
    told = (_market_data(venue, line.payload) for line in lines(path) if line.kind == WS)
    parts = [venue.split(stream) for stream in {stream for _, found in told for stream, _ in found} if stream]
    return sorted({symbol for symbol, _ in parts}), sorted({name for _, name in parts})


def _contents(path: Path, told: Told | None) -> tuple[frozenset[str], frozenset[Asked]]:
    """Every symbol that has a frame, where the venue tells how to see it, and every request that has an answer."""
    named = re.compile(rf'"{told.symbol}":"(\w+)"') if told else None
    symbols, requests = set(), set()
    for line in lines(path):
        if line.kind == WS and named is not None and (match := named.search(line.frame)):
            symbols.add(match[1])
        elif line.kind == REST:
            requests.add(asked(line.url))
    return frozenset(symbols), frozenset(requests)
