"""A recorded session, served once, or over and over with ids and times moved on.

The recording's form: one JSON object a line with ``receive_time_ns``, ``kind`` (``ws`` or ``rest``), ``frame``
(the exact text) and, for requests, ``url``. Frames are served exactly as they were recorded; with ``loop``, each
pass goes on where the last one ended: ids contiguous, times now, and one depth update that turns the book at
the recording's end into the book at its start.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from etl.simulator.market import Listing
from etl.simulator.session import Entry, History, Item

SECOND = 1_000_000_000
MS = 1_000_000
BURST_ITEMS = 512
EARLY_CHANGES_MAX = 10_000
SHIPPED = Path(__file__).with_name("sessions")


class Line(Struct, frozen=True):
    frame: str
    kind: str = "ws"
    receive_time_ns: int = 0
    url: str = ""


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


def first_trades(path: Path) -> dict[str, int]:
    """The first trade's id of every symbol."""
    found: dict[str, int] = {}
    for line in lines(path):
        if '"e":"trade"' in line.frame:
            data = msgspec.json.decode(line.frame.encode())["data"]
            found.setdefault(data["s"], data["t"])
    return found


def symbols_of(path: Path) -> frozenset[str]:
    """Every symbol that has a frame."""
    named = re.compile(r'"s":"(\w+)"')
    return frozenset(match[1] for line in lines(path) if (match := named.search(line.frame)))


class Book:
    """A recorded order book in the venue's own digits: a snapshot, and what was changed since."""

    def __init__(self) -> None:
        self.last = 0
        self.sides: dict[str, dict[str, str]] = {"b": {}, "a": {}}

    def load(self, snapshot: dict[str, Any]) -> None:
        self.last = snapshot["lastUpdateId"]
        self.sides = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}

    def apply(self, change: dict[str, Any]) -> None:
        for side, levels in self.sides.items():
            for price, size in change[side]:
                if float(size):
                    levels[price] = size
                else:
                    levels.pop(price, None)
        self.last = change["u"]

    def change_to(self, snapshot: dict[str, Any]) -> dict[str, list[list[str]]]:
        """The levels that turn this book into ``snapshot``'s."""
        levels: dict[str, list[list[str]]] = {}
        for side, name in (("b", "bids"), ("a", "asks")):
            target = dict(snapshot[name])
            gone = [[price, "0.00000000"] for price in self.sides[side] if price not in target]
            levels[side] = gone + [[price, size] for price, size in target.items()]
        return levels

    def text(self) -> bytes:
        bids = sorted(self.sides["b"].items(), key=_price, reverse=True)
        asks = sorted(self.sides["a"].items(), key=_price)
        return msgspec.json.encode({"lastUpdateId": self.last, "bids": bids, "asks": asks})


def _price(level: tuple[str, str]) -> float:
    return float(level[0])


class Track:
    """One symbol of a recording: its book, and by how much the ids of this pass are moved."""

    def __init__(self) -> None:
        self.book = Book()
        self.snapshot: dict[str, Any] | None = None
        self._early: list[dict[str, Any]] = []
        self.answer = b""
        self.depth_stream = ""
        self.first_update = self.first_trade = 0
        self.last_update = self.last_depth = self.last_trade = 0
        self._update_shift = self._trade_shift = 0
        self._again = False

    def begin_again(self, now_ns: int) -> dict[str, Any] | None:
        """Later passes follow the last ids of the one before; the update that joins their books, if any."""
        self._again = True
        self._trade_shift = self.last_trade + 1 - self.first_trade if self.first_trade else 0
        if self.snapshot is None or not self.first_update:
            return None
        joint = max(self.last_update, self.last_depth) + 1
        self._update_shift = joint + 1 - self.first_update
        data = {"e": "depthUpdate", "E": now_ns // MS, "s": "", "U": self.last_depth + 1, "u": joint}
        data |= self.book.change_to(self.snapshot)
        self.last_depth = self.last_update = joint
        return data

    def moved(self, data: dict[str, Any], now_ns: int) -> dict[str, Any] | None:
        """``data`` with this pass's ids and with times that end now; ``None`` for what lies before the snapshot
        that a later pass begins with."""
        kind = data.get("e", "bookTicker")
        if kind == "trade":
            data = data | {"t": data["t"] + self._trade_shift}
        elif kind in ("bookTicker", "depthUpdate"):
            if self._again and self.snapshot and data["u"] <= self.snapshot["lastUpdateId"]:
                return None
            data = data | {name: data[name] + self._update_shift for name in ("U", "u") if name in data}
            if "pu" in data:
                data["pu"] = self.last_depth
        if "E" in data:
            data["T" if "T" in data else "E"] = now_ns // MS - max(0, data["E"] - data.get("T", data["E"]))
            data["E"] = now_ns // MS
        return data

    def note(self, data: dict[str, Any]) -> None:
        """Keep up with what is served."""
        kind = data.get("e", "bookTicker")
        if kind == "trade":
            self.first_trade = self.first_trade or data["t"]
            self.last_trade = data["t"]
        elif kind == "bookTicker":
            self.last_update = max(self.last_update, data["u"])
        elif kind == "depthUpdate":
            self.last_depth = data["u"]
            if self.snapshot is None and len(self._early) < EARLY_CHANGES_MAX:
                self._early.append(data)
            else:
                self._apply(data)

    def load(self, answer: bytes) -> None:
        """The recorded snapshot; some of the changes played before it are newer than it."""
        self.answer = answer
        self.snapshot = msgspec.json.decode(answer)
        self.book.load(msgspec.json.decode(answer))
        for data in self._early:
            self._apply(data)
        self._early = []

    def _apply(self, data: dict[str, Any]) -> None:
        if data["u"] > self.book.last and self.book.last:
            self.first_update = self.first_update or data["U"]
            self.book.apply(data)


class Served(Struct, frozen=True):
    """The last line of a recording that was served, and the greatest ids that went out."""

    position: int = 0
    last_trade: int = 0
    last_update: int = 0
    last_depth: int = 0


NOTHING = Served()


class RecordingSession:
    """``rate`` in events/s, 0 = no pace, ``None`` = as recorded. ``before`` is what an earlier life has sent."""

    label = "recording"

    def __init__(
        self,
        path: Path,
        rate: float | None = None,
        *,
        loop: bool = False,
        before: Served = NOTHING,
        history: History | None = None,
    ) -> None:
        self.history = history or History()
        self.skew_ns = 0
        self.finished = False
        self._path = path
        self._symbols = symbols_of(path)
        self._rate = rate
        self._loop = loop
        self._lines = enumerate(lines(path), 1)
        self._next: tuple[int, Line] | None = None
        self._played_from_ns = self._recorded_from_ns = self._last_ns = 0
        self._owed = 0.0
        self._tracks: dict[str, Track] = {}
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
                track.last_trade = max(track.last_trade, before.last_trade)
                track.last_update = max(track.last_update, before.last_update)
                track.last_depth = max(track.last_depth, before.last_depth)
            self._next = (0, Line(""))

    def subscribe(self, stream: str) -> None:
        """A recording has what it has; the connection's own streams choose among it."""

    def listing(self, symbol: str) -> Listing:
        raise LookupError(f"{symbol}: a recording has no market behind it")

    def snapshot(self, symbol: str, now_ns: int) -> bytes | None:
        """The recorded answer for the first who asks, and the book as it is now for all others; ``None`` until
        the recording has come to its snapshot. Raises ``LookupError`` for a symbol that is not in it."""
        if symbol not in self._symbols:
            raise LookupError(f"symbol {symbol} is not recorded")
        track = self._tracks.get(symbol)
        if track is None or not track.book.last:
            return None
        answer, track.answer = track.answer, b""
        return answer or track.book.text()

    def due(self, now_ns: int) -> list[Item]:
        items: list[Item] = []
        for _ in range(self._count(now_ns)):
            line = self._peek(now_ns)
            if line is None or (self._rate is None and not self._is_due(line[1], now_ns)):
                break
            items += self._play(now_ns)
        return items

    def _count(self, now_ns: int) -> int:
        if not self._rate:
            return BURST_ITEMS
        self._owed += self._rate * min(1.0, (now_ns - self._last_ns) / SECOND) if self._last_ns else 0.0
        self._last_ns = now_ns
        count = int(self._owed)
        self._owed -= count
        return count

    def _is_due(self, line: Line, now_ns: int) -> bool:
        if not self._played_from_ns:
            self._played_from_ns, self._recorded_from_ns = now_ns, line.receive_time_ns
        return line.receive_time_ns - self._recorded_from_ns <= now_ns - self._played_from_ns

    def _peek(self, now_ns: int) -> tuple[int, Line] | None:
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
        if line.kind == "rest":
            self._load(line)
            return []
        payload = line.frame.encode()
        message = msgspec.json.decode(payload)
        if not (isinstance(message, dict) and "stream" in message):
            return [Item("", payload, position)]
        stream, data = message["stream"], message["data"]
        track = self._track(data["s"])
        if "@depth" in stream:
            track.depth_stream = stream
        if self._loop:
            moved = track.moved(data, now_ns)
            if moved is None:
                return []
            data, payload = moved, msgspec.json.encode({"stream": stream, "data": moved})
        return [self._item(stream, data, payload, position)]

    def _item(self, stream: str, data: dict[str, Any], payload: bytes, position: int) -> Item:
        self._track(data["s"]).note(data)
        if data.get("e") == "trade" and data["T"] > 0:  # a loop that is resumed is played without times
            fact = {"p": data["p"], "q": data["q"], "m": data["m"], "T": data["T"]}
            self.history.add(data["s"], "trade", Entry(data["t"], data["T"] * MS, fact))
        return Item(_family(stream), payload, position)

    def _begin_again(self, now_ns: int) -> list[Item]:
        self._played_from_ns = 0
        items = []
        for symbol, track in self._tracks.items():
            joint = track.begin_again(now_ns)
            if joint:
                joint["s"] = symbol
                payload = msgspec.json.encode({"stream": track.depth_stream, "data": joint})
                items.append(self._item(track.depth_stream, joint, payload, 0))
        return items

    def _load(self, line: Line) -> None:
        if "/depth" not in line.url:
            return
        track = self._track(_query(line.url).get("symbol", ""))
        if track.snapshot is None:
            track.load(line.frame.encode())

    def _track(self, symbol: str) -> Track:
        return self._tracks.setdefault(symbol, Track())


def _family(stream: str) -> str:
    """Depth of any speed is one stream here."""
    symbol, _, channel = stream.partition("@")
    return f"{symbol}@depth" if channel.startswith("depth") else stream


def _query(url: str) -> dict[str, str]:
    return dict(re.findall(r"[?&]([^=&]+)=([^&]*)", url))
