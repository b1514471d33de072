"""A recorded Binance: where its frames say what they are, and how a recording is played over and over.

Each pass goes on where the last one ended: ids contiguous, times now, and one depth update that turns the book at the
recording's end into the book at its start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS
from etl.simulator.told import Told, ToldForm

EARLY_CHANGES_MAX = 10_000


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


class BinanceTrack:
    """One symbol of a recording: its book, and by how much the ids of this pass are moved."""

    def __init__(self) -> None:
        self.book = Book()
        self.snapshot: dict[str, Any] | None = None
        self._early: list[dict[str, Any]] = []
        self.answer = b""
        self.stream = ""
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
        ids = {"U": self.last_depth + 1, "u": joint}
        data = {
            "e": "depthUpdate",
            "E": now_ns // NS_PER_MS,
            "s": "",
            **ids,
            **self.book.change_to(self.snapshot),
        }
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
            data["T" if "T" in data else "E"] = now_ns // NS_PER_MS - max(
                0, data["E"] - data.get("T", data["E"])
            )
            data["E"] = now_ns // NS_PER_MS
        return data

    def resume(self, last: Mapping[str, int]) -> None:
        """Go on after the greatest ids of an earlier life, by kind."""
        self.last_trade = max(self.last_trade, last["trade"])
        self.last_update = max(self.last_update, last["quote"], last["book"])
        self.last_depth = max(self.last_depth, last["book"])

    @property
    def last_id(self) -> int:
        return self.book.last

    def text(self) -> bytes:
        return self.book.text()

    def note(self, stream: str, data: dict[str, Any]) -> None:
        """Keep up with what is served."""
        kind = data.get("e", "bookTicker")
        if kind == "trade":
            self.first_trade = self.first_trade or data["t"]
            self.last_trade = data["t"]
        elif kind == "bookTicker":
            self.last_update = max(self.last_update, data["u"])
        elif kind == "depthUpdate":
            self.stream, self.last_depth = stream, data["u"]
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


TOLD = Told(
    stream="stream",
    data="data",
    tag="e",
    untagged="bookTicker",
    symbol="s",
    symbol_query="symbol",
    time_unit_ns=NS_PER_MS,
    forms={
        "trade": ToldForm("trade", "$t", "T"),
        "aggTrade": ToldForm("agg_trade", "$a", "T"),
        "bookTicker": ToldForm("quote", "$u", "T"),
        "depthUpdate": ToldForm("book", "$channel/d/$u", "E"),
    },
    snapshot_path="/depth",
    snapshot=ToldForm("book", "depth/s/$lastUpdateId"),
    print_tag="trade",
    print_id="t",
    print_words={"price": "p", "size": "q", "maker": "m", "ms": "T"},
    track=BinanceTrack,
)
