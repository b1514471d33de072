"""The tables that find a message's reader, by an invented venue's wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache
from etl.adapter.contract import Fault, FaultKind, Ignored, Outcome, Rejected, Reply, Subscription
from etl.adapter.dispatch import Reader, Rows, Streams, Tagged, by_shape, read_lines, read_rows
from etl.adapter.fields import ABSENT, Id, Name
from etl.adapter.handshake import Handshake, kind_of_words, told
from etl.model.codes import Code
from etl.model.records import Frame, Record, SizeUnit, Trade
from etl.model.times import NS_PER_MS

SHUTDOWN = Fault(FaultKind.SHUTDOWN, "bye", "the venue closes")


class Print(Struct, gc=False, tag_field="ev", tag="T"):
    sym: Name
    i: Id
    p: str
    s: str
    t: int


class Tick(Struct, gc=False, tag_field="ev", tag="X"):
    sym: Name
    i: Id
    p: str
    t: int


class Row(Struct, gc=False, array_like=True):
    i: Id
    p: str
    s: str
    t: int


class Named(Struct, gc=False):
    symbol: Name
    id: Id


def read_named(frame: Frame, index: int, event: Named, place: Stream) -> Ignored:
    if event.id == 99:
        raise fields.FieldFault(Code.FIELD_MALFORMED, "99")
    return Ignored(str(event.id), index)


def read_print(frame: Frame, index: int, event: Print, stream: Stream) -> Trade:
    price, size = fields.two(event.p, event.s)
    return build.trade(stream, frame, index, event.t * NS_PER_MS, price, size, trade_id=str(event.i))


def read_tick(frame: Frame, index: int, event: Tick, stream: Stream) -> Trade:
    price, size = fields.two(event.p, "1")
    return build.trade(stream, frame, index, event.t * NS_PER_MS, price, size, trade_id=str(event.i))


def stream(symbol: str = "AAA", channel: str = "trades") -> Stream:
    return Stream("invented", symbol, symbol, channel, 1, SizeUnit.BASE)


def frame_of(payload: Any, endpoint: str = "") -> Frame:
    encoded = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
    return Frame("invented", "c", 1, endpoint, 5, encoded)


def place(name: str, event: Mapping[str, Raw]) -> tuple[str, str]:
    symbol, _, channel = name.partition(":")
    return symbol or fields.text_of(event.get("sym", ABSENT)), channel or "trades"


def streams() -> Streams:
    return Streams(
        b'{"stream":"',
        "ev",
        {"trades": Reader(Print, read_print, "T")},
        {"N": "news", "B": "bye"},
        {"B": SHUTDOWN},
        place,
        lambda channel: channel.partition("@")[0],
        StreamCache(lambda key: stream(*key)),
    )


def event(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"ev": "T", "sym": "AAA", "i": number, "p": "1.5", "s": "2", "t": 7} | changes


def brief(outcomes: Sequence[Outcome] | None) -> list[Any]:
    """Ids of trades, codes, names."""
    assert outcomes is not None
    return [
        one.trade_id if isinstance(one, Trade) else getattr(one, "code", getattr(one, "name", one))
        for one in outcomes
    ]


def test_a_stream_is_read_at_once_from_its_second_event_on() -> None:
    table, frame = streams(), frame_of({"stream": "AAA:trades@1s", "data": event()})
    assert table.read(frame) == (), "not met before"
    (slow,) = table.read_each(frame, "AAA:trades@1s", [msgspec.json.encode(event())])
    assert isinstance(slow, Trade)
    assert (slow.symbol, slow.channel, slow.record_key, slow.key_time_ns) == (
        "AAA",
        "trades@1s",
        "1",
        7_000_000,
    )
    assert table.read(frame) == (slow,)


def test_what_is_wrong_with_an_event_of_a_known_stream_is_left_to_the_slow_path() -> None:
    table, name = streams(), "AAA:trades"
    table.read_each(frame_of(b""), name, [msgspec.json.encode(event())])
    wrong = {"stream": name, "data": event(p="x")}
    assert table.read(frame_of(wrong)) == ()
    assert brief(table.read_each(frame_of(b""), name, [msgspec.json.encode(event(p="x"))])) == [
        Code.DECIMAL_MALFORMED
    ]


def test_a_name_that_does_not_tell_the_symbol_is_no_stream_of_that_symbol() -> None:
    table, frame = streams(), frame_of({"stream": ":trades", "data": event()})
    assert brief(table.read_each(frame, ":trades", [msgspec.json.encode(event())])) == ["1"]
    assert table.read(frame) == (), "its next event may be another symbol's"


def test_each_event_of_a_stream_is_one_outcome_whatever_it_is() -> None:
    events = [
        event(1),
        event(2, ev="N"),
        event(3, ev="?"),
        event(4, sym=""),
        event(5, sym="A B"),
        5,
        event(6, i=-1),
        event(7, ev=None),
    ]
    encoded = [*map(msgspec.json.encode, events), b'{"ev":"T","sym":"\xff"}']
    assert brief(streams().read_each(frame_of(b""), "", encoded)) == [
        "1",
        "news",
        Code.UNKNOWN_MESSAGE,
        Code.SYMBOL_MISSING,
        Code.SYMBOL_MALFORMED,
        Code.FIELD_MALFORMED,
        Code.INTEGER_OVERFLOW,
        Code.UNKNOWN_MESSAGE,
        Code.UNDECODABLE,
    ]
    assert streams().read_each(frame_of(b""), "", [b'{"ev":"B"}']) == [Ignored("bye", 0), SHUTDOWN]


def tagged() -> Tagged:
    return Tagged("ev", [Reader(Print, read_print), Reader(Tick, read_tick)], {"N": "news"}, ("sym", "pair"))


def control(tag: str, message: bytes | Raw, index: int) -> Sequence[Outcome] | None:
    return told("status", index) if tag == "status" else None


def test_an_array_of_known_events_is_read_at_once_and_a_wrong_field_costs_its_event() -> None:
    wrong = event(2, p="x")
    found = tagged().read(frame_of(b""), msgspec.json.encode([event(1), wrong, event(3, ev="X")]), stream())
    assert brief(found) == ["1", Code.DECIMAL_MALFORMED, "3"]
    assert isinstance(found, list)
    assert (found[1].index, found[1].venue_symbol) == (1, "AAA")  # type: ignore[union-attr]


@pytest.mark.parametrize("other", [event(2, ev="N"), event(2, i="x"), {"ev": "status"}, 5, event(2, ev="?")])
def test_an_array_with_anything_else_in_it_is_none_of_the_fast_path(other: Any) -> None:
    assert tagged().read(frame_of(b""), msgspec.json.encode([event(1), other]), stream()) is None


def test_element_by_element_a_garbled_one_costs_itself_and_keeps_its_place() -> None:
    events = [event(1), event(2, ev="N"), {"ev": "status"}, event(3, i="x", pair="P"), event(4, ev="?"), 5]
    payload = msgspec.json.encode(events)[:-1] + b',{"ev":"T","sym":"\xff"}]'
    found = tagged().read_each(frame_of(b""), payload, stream(), control)
    assert brief(found) == [
        "1", "news", "status", Code.FIELD_MALFORMED, Code.UNKNOWN_MESSAGE, Code.FIELD_MALFORMED, Code.UNDECODABLE,
    ]  # fmt: skip
    assert [one.frame_index if isinstance(one, Record) else one.index for one in found] == list(range(7))  # type: ignore[union-attr]
    assert brief(tagged().read_each(frame_of(b""), b"[1,", stream(), control)) == [Code.UNDECODABLE]


def test_a_row_that_is_wrong_costs_itself() -> None:
    reader = Reader(Row, read_print)
    good, short = [1, "1.5", "2", 7], [1, "1.5"]
    assert brief(read_rows(frame_of(b""), msgspec.json.encode([good, good]), reader, stream(), "AAA")) == [
        "1",
        "1",
    ]
    found = read_rows(frame_of(b""), msgspec.json.encode([short, good, None]), reader, stream(), "AAA")
    assert brief(found) == [Code.FIELD_MISSING, "1", Code.FIELD_MALFORMED]


def test_a_reader_sees_each_row_once_whatever_is_wrong_with_another() -> None:
    counts = fields.ContentCounts()

    def read(frame: Frame, index: int, event: Row, stream: Stream) -> Trade:
        (price,) = fields.decimals(event.p)
        return build.trade(stream, frame, index, NS_PER_MS, price, "1", trade_id=counts.key("", price))

    rows = msgspec.json.encode([[1, "1.5", "2", 7], [2, "x", "2", 7], [3, "1.5", "2", 7]])
    found = read_rows(frame_of(b""), rows, Reader(Row, read), stream(), "AAA")
    assert brief(found) == ["1.5/0", Code.DECIMAL_MALFORMED, "1.5/1"]
    assert isinstance(found[1], Rejected)
    assert (found[1].index, found[1].venue_symbol) == (1, "AAA")


@pytest.mark.parametrize(
    ("payload", "codes"),
    [
        (b'[{"sym":"AAA"},{"ev":5,"sym":"AAA"}]', [Code.FIELD_MISSING, Code.FIELD_MALFORMED]),
        (b"5", [Code.UNDECODABLE]),
        (b"null", [Code.UNDECODABLE]),
    ],
)
def test_an_event_without_a_tag_lacks_a_field_and_what_is_no_array_is_undecodable(
    payload: bytes, codes: list[Code]
) -> None:
    assert brief(tagged().read_each(frame_of(b""), payload, stream(), control)) == codes


def test_lines_are_events_and_a_header_is_left_aside() -> None:
    frame = frame_of(b"id,price\n7,1.5,2,7\nbroken\n8,1,2,x\n")
    named = Reader(Print, read_print)
    assert brief(read_lines(frame, (), Reader(Row, read_print), stream(), "AAA", (b"id,",))) == [
        "csv_header", "7", Code.FIELD_MISSING, Code.FIELD_MALFORMED,
    ]  # fmt: skip
    columns = ("i", "p", "s", "t")
    lines = read_lines(frame_of(b"7,1.5,2,7"), columns, named, stream(), "AAA", (b"id,",))
    assert brief(lines) == [Code.FIELD_MISSING], "the wire type asks for a symbol that no column has"


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"5", Code.UNKNOWN_MESSAGE),
        (b"null", Code.UNKNOWN_MESSAGE),
        (b"{", Code.UNDECODABLE),
        (b"", Code.UNDECODABLE),
    ],
)
def test_what_is_neither_an_object_nor_an_array_has_its_code(payload: bytes, code: Code) -> None:
    (outcome,) = by_shape(
        frame_of(payload), lambda frame, text: [msgspec.json.decode(text)], lambda frame, text: []
    )
    assert isinstance(outcome, Rejected)
    assert outcome.code == code


def test_half_a_surrogate_pair_costs_the_element_that_has_it() -> None:
    frame = frame_of(b'[{"ev":"T","sym":"\\ud800"},{"ev":"N","x":"\\ud83d\\ude00"}]')
    found = by_shape(
        frame, lambda frame, text: [], lambda frame, text: tagged().read_each(frame, text, stream(), control)
    )
    assert brief(found) == [Code.UNDECODABLE, "news"]


def test_a_handshake_says_what_its_steps_call_for_and_is_ready_once() -> None:
    talk = Handshake(
        {"hello": lambda wanted: Reply(",".join(wanted.symbols)), "subscribed": FaultKind.READY, "ok": None}
    )
    assert talk.take("control", "hello") == [Ignored("control", 0)], (
        "nobody has subscribed: recorded frames is read"
    )
    talk.subscription = Subscription(("AAA", "BBB"), ("trades",))
    assert talk.take("control", "hello", index=2) == [Ignored("control", 2), Reply("AAA,BBB")]
    assert talk.take("control", "ok") == [Ignored("control", 0)]
    assert talk.take("control", "subscribed", "to all") == [
        Ignored("control", 0), Fault(FaultKind.READY, "subscribed", "to all"),
    ]  # fmt: skip
    assert talk.take("control", "subscribed") == [Ignored("control", 0)]
    assert [talk.knows(word) for word in ("ok", "no")] == [True, False]


def test_the_more_telling_words_come_first() -> None:
    words = (("your plan", FaultKind.ENTITLEMENT), ("error", FaultKind.TRANSIENT))
    assert kind_of_words(words, "Error: not in Your Plan") is FaultKind.ENTITLEMENT
    assert kind_of_words(words, "an ERROR") is FaultKind.TRANSIENT
    assert kind_of_words(words, "fine") is None


def test_a_byte_order_mark_and_empty_lines_of_a_file_are_no_events() -> None:
    payload = b"\xef\xbb\xbfid,price\r\n7,1.5,2,7\r\n\r\n8,1.5,2,7\r\n \n"
    frame = frame_of(payload)
    outcomes = read_lines(frame, (), Reader(Row, read_print), stream(), "AAA", (b"id,",))
    assert brief(outcomes) == ["csv_header", "7", "8"]
    assert [one.frame_index for one in outcomes if isinstance(one, Trade)] == [1, 3]


def test_rows_that_name_their_instrument_are_one_outcome_each_and_a_garbled_one_says_whose_it_was() -> None:
    rows = Rows(Reader(Named, read_named), "symbol")
    good = {"symbol": "AAA", "id": 1}
    assert brief(rows.read(frame_of([]), msgspec.json.encode([good, good]), stream())) == ["1", "1"]
    garbled = [good, {"symbol": "BBB", "id": "x"}, 7, {**good, "id": -1}]
    told = rows.read(frame_of([]), msgspec.json.encode(garbled), stream())
    assert [(one.code, one.index, one.venue_symbol) for one in told if isinstance(one, Rejected)] == [
        (Code.FIELD_MALFORMED, 1, "BBB"), (Code.FIELD_MALFORMED, 2, ""), (Code.INTEGER_OVERFLOW, 3, "AAA"),
    ]  # fmt: skip
    refused = rows.read(frame_of([]), msgspec.json.encode([{"symbol": "CCC", "id": 99}]), stream())
    assert refused == [Rejected(Code.FIELD_MALFORMED, "99", 0, "CCC")], "also where its reader refuses it"
    with pytest.raises(msgspec.ValidationError):
        rows.read(frame_of([]), b"{}", stream())
