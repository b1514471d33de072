"""What a client is told first when it subscribes, and what the venue counts on its connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.feed import Feed
from etl.simulator.frame_faults import Fault
from etl.simulator.market import Instrument
from etl.simulator.session import SyntheticSession
from etl.simulator.truth import PLACED, SENT, STREAM, TruthFile, read
from etl.simulator.venue import CHANGE, PRINT, Channel, Venue
from etl.simulator.words import WORDS, Form, Words

T0 = 1_795_242_275_000_000_000
SECOND = 1_000_000_000


def _deltas(name: str) -> Any:
    def write(words: Words) -> str:
        return ",".join(
            f'["{words.price(price)}","{words.size(lots)}"]' for price, lots in getattr(words.fact, name)
        )

    return write


class Acme(Venue):
    """Its book is told by what is added to each level; every message has a number within its connection."""

    exchange = "acme"
    symbols: Mapping[str, Instrument] = {"AB": Instrument("AB", "A-B", 2, 0, 10_000)}
    words = WORDS | {"bid_deltas": _deltas("bid_deltas"), "ask_deltas": _deltas("ask_deltas")}
    dialect = Dialect(
        replies={"heartbeat": '{"n":#,"beat":$ms}'}, action="op", texts={"ping": "pong"}, heartbeat_s=1.0
    )
    channels: Mapping[str, Channel] = {
        "trades": Channel(
            PRINT, Form("trade", "$number", '{"n":#,"id":$number}', 1), 0.5,
            opening=Form("trade", "$number", '{"n":#,"id":$number,"again":true}', 1), replayed_max=3,
        ),
        "book": Channel(
            CHANGE, Form("book", PLACED, '{"n":#,"bids":[$bid_deltas],"asks":[$ask_deltas]}', 1), 0.5,
            opening=Form("book", PLACED, '{"n":#,"all":true,"bids":[$bids],"asks":[$asks]}', 1),
        ),
    }  # fmt: skip

    def asked(self, request: Any) -> Sequence[str]:
        return list(request["streams"])

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        return [b'{"n":#,"ok":true}']

    def stamped(self, connection: Connection, payload: bytes, stream: str) -> bytes:
        connection.counts[""] = number = connection.counts.get("", 0) + 1
        return payload.replace(b"#", str(number).encode())


class Heard(Connection):
    def __init__(self) -> None:
        super().__init__()
        self.frames: list[bytes] = []

    def write(self, payloads: Sequence[bytes]) -> None:
        self.frames += payloads

    def messages(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(frame) for frame in self.frames]


def subscribe(feed: Feed, socket: Heard, *streams: str, op: str = "subscribe", at_ns: int = T0) -> None:
    feed.received(socket, msgspec.json.encode({"op": op, "streams": streams}).decode(), at_ns)
    feed.carry_out(at_ns)


def playing(tmp_path: Path, seconds: int, *streams: str) -> tuple[Feed, Heard]:
    """A feed that has gone on for a while, and its first client."""
    venue = Acme("acme")
    feed = Feed(venue, SyntheticSession(venue, 40.0, seed=5), TruthFile(tmp_path / "truth.jsonl"))
    socket = Heard()
    feed.opened(socket, T0)
    subscribe(feed, socket, *streams)
    for tick in range(1, seconds * 10):
        feed.tick(T0 + tick * SECOND // 10)
    return feed, socket


def test_deltas_after_the_opening_give_the_true_book_whenever_a_client_joins(tmp_path: Path) -> None:
    feed, first = playing(tmp_path, 3, "book.AB")
    late = Heard()
    feed.opened(late, T0 + 3 * SECOND)
    next(feed.listings()).top(T0)  # a change that nobody has heard of yet
    subscribe(feed, late, "book.AB", at_ns=T0 + 3 * SECOND)
    for tick in range(31, 60):
        feed.tick(T0 + tick * SECOND // 10)
    true = next(feed.listings()).told(T0)
    for socket in (first, late):
        sides: dict[str, dict[str, int]] = {"bids": {}, "asks": {}}
        books = [message for message in socket.messages() if "bids" in message]
        assert [bool(message.get("all")) for message in books] == [True] + [False] * (len(books) - 1)
        for message in books:
            for name, side in sides.items():
                for price, lots in message[name]:
                    side[price] = side.get(price, 0) + int(lots)
                    if not side[price]:
                        del side[price]
        assert sides["bids"] == {
            f"{price / 100:.2f}".rstrip("0").rstrip("."): lots for price, lots in true.bids
        }
        assert sides["asks"] == {
            f"{price / 100:.2f}".rstrip("0").rstrip("."): lots for price, lots in true.asks
        }


def test_the_last_trades_come_again_after_the_acknowledgement(tmp_path: Path) -> None:
    feed, first = playing(tmp_path, 2, "trades.AB")
    late = Heard()
    feed.opened(late, T0 + 2 * SECOND)
    subscribe(feed, late, "trades.AB", at_ns=T0 + 2 * SECOND)
    sent = [message["id"] for message in first.messages() if "id" in message]
    ack, *again = [message for message in late.messages() if "beat" not in message]
    assert ack["ok"]
    assert again == [
        {"n": again[0]["n"] + place, "id": number, "again": True} for place, number in enumerate(sent[-3:])
    ]
    subscribe(feed, late, "trades.AB", op="unsubscribe", at_ns=T0 + 2 * SECOND)
    before = len(late.frames)
    subscribe(feed, late, "trades.AB", at_ns=T0 + 2 * SECOND)
    assert [message.get("id") for message in late.messages()[before:]] == [None, *sent[-3:]]


def test_every_frame_of_a_connection_is_counted_those_that_are_lost_too(tmp_path: Path) -> None:
    feed, socket = playing(tmp_path, 2, "trades.AB", "book.AB")
    numbers = [message["n"] for message in socket.messages()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum("beat" in message for message in socket.messages()) == 2
    feed.frame_faults.order(Fault("drop", count=2))
    for tick in range(20, 40):
        feed.tick(T0 + tick * SECOND // 10)
    numbers = [message["n"] for message in socket.messages()]
    assert len(set(range(1, numbers[-1] + 1)) - set(numbers)) == 2


def test_the_heart_of_a_venue_that_was_told_to_stop_beats_no_more(tmp_path: Path) -> None:
    feed, socket = playing(tmp_path, 2, "trades.AB")
    feed.stop(T0 + 2 * SECOND)
    before = len(socket.frames)
    for tick in range(20, 60):
        feed.tick(T0 + tick * SECOND // 10)
    assert socket.frames[before:] == [], "a run that ends waits until nothing moves"


def test_a_text_that_is_no_message_has_its_answer(tmp_path: Path) -> None:
    feed, socket = playing(tmp_path, 1, "trades.AB")
    before = len(socket.frames)
    feed.received(socket, "ping", T0 + SECOND)
    feed.carry_out(T0 + SECOND)
    assert socket.frames[before] == b"pong"


def test_what_begins_a_subscription_is_told(tmp_path: Path) -> None:
    playing(tmp_path, 1, "book.AB")
    lines = [line for line in read(tmp_path / "truth.jsonl") if line.endpoint == STREAM]
    assert {line.fate for line in lines} == {SENT}
    assert {tuple(event)[:3] for line in lines for event in map(msgspec.structs.astuple, line.events)} == {
        ("book", "A-B", PLACED)
    }
    assert lines[0].time_ns == T0
