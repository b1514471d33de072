"""The catalogue of corruptions: recorded wire frames, mutated one way each, must be caught on ingestion by name.

A frame is parsed and checked as a worker does it. What is caught has the named code; every event beside it comes out
exactly as without the corruption.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from etl import exchanges
from etl.adapter.contract import Rejected
from etl.model.records import Frame, Record
from etl.validation import Checker
from etl.validation.statistics import SymbolStatistics

Event = dict[str, Any]
Mutation = Callable[[Event], Any]

STATISTICS = {
    "binance": SymbolStatistics("binance", "BTC-USDT", 61_000.0, 0.0, 0.02, 30, 0),
    "polygon": SymbolStatistics("polygon", "AMZN", 160.0, 0.0, 0.02, 30, 0),
    "alpaca": SymbolStatistics("alpaca", "AAPL", 160.0, 0.0, 0.02, 30, 0),
}

BINANCE_TRADE = {"stream": "btcusdt@trade", "data": {
    "e": "trade", "E": 1723161255343, "s": "BTCUSDT", "t": 3735683259, "p": "61837.63000000",
    "q": "0.02000000", "T": 1723161255342, "m": True, "M": True}}  # fmt: skip
BINANCE_QUOTE = {"stream": "btcusdt@bookTicker", "data": {
    "u": 50093239212, "s": "BTCUSDT", "b": "61837.63000000", "B": "3.78826000", "a": "61837.64000000",
    "A": "1.54698000"}}  # fmt: skip
BINANCE_BOOK = {"stream": "btcusdt@depth@100ms", "data": {
    "e": "depthUpdate", "E": 1723161255308, "s": "BTCUSDT", "U": 50093239203, "u": 50093239207,
    "b": [["55653.87000000", "0.00000000"]],
    "a": [["61838.04000000", "0.32332000"], ["61844.30000000", "0.40163000"]]}}  # fmt: skip
BINANCE_KLINE = {"stream": "btcusdt@kline_1m", "data": {"e": "kline", "E": 1723161300000, "s": "BTCUSDT", "k": {
    "t": 1723161240000, "T": 1723161299999, "s": "BTCUSDT", "i": "1m", "f": 1, "L": 9, "o": "61800.00000000",
    "c": "61837.63000000", "h": "61850.00000000", "l": "61790.00000000", "v": "12.50000000", "n": 9, "x": True,
    "q": "772970.37500000", "V": "6.00000000", "Q": "371025.78000000", "B": "0"}}}  # fmt: skip
POLYGON_TRADES = [
    {"ev": "T", "sym": "AMZN", "i": "72815", "x": 12, "p": 161.87, "s": 1, "c": [14, 37, 41],
     "t": 1651684192536, "q": 4009408, "z": 3},
    {"ev": "T", "sym": "AMZN", "i": "799", "x": 4, "p": 161.87, "s": 100, "t": 1651684192717, "q": 4009434,
     "z": 3},
    {"ev": "Q", "sym": "AMZN", "bx": 4, "bp": 161.86, "bs": 100, "ax": 7, "ap": 161.88, "as": 160, "c": 0,
     "i": [604], "t": 1651684192718, "q": 50385480, "z": 3},
]  # fmt: skip
ALPACA_TRADES = [
    {"T": "t", "S": "AAPL", "i": 628, "x": "K", "p": 162.92, "s": 3, "c": ["@", "F", "T", "I"], "z": "C",
     "t": "2023-04-06T11:54:26.838232225Z"},
    {"T": "t", "S": "AAPL", "i": 75, "x": "Z", "p": 162.92, "s": 3, "c": ["@", "F", "T", "I"], "z": "C",
     "t": "2023-04-06T11:54:26.838562809Z"},
    {"T": "q", "S": "AAPL", "bx": "K", "bp": 162.91, "bs": 2, "ax": "Q", "ap": 162.98, "as": 1, "c": ["R"],
     "z": "C", "t": "2023-04-06T11:54:26.838670905Z"},
]  # fmt: skip

RECEIVE_NS = {
    "binance": 1_723_161_254_087_000_000,
    "polygon": 1_651_684_192_720_000_000,
    "alpaca": 1_680_782_066_839_000_000,
}


def setting(key: str, value: Any) -> Mutation:
    def mutate(event: Event) -> None:
        event[key] = value

    mutate.__name__ = f"{key}={value!r:.30}"
    return mutate


def scaling(key: str, factor: float) -> Mutation:
    def mutate(event: Event) -> None:
        event[key] = int(event[key] * factor)

    mutate.__name__ = f"{key}*{factor:g}"
    return mutate


def dropping(key: str) -> Mutation:
    def mutate(event: Event) -> None:
        del event[key]

    mutate.__name__ = f"no {key}"
    return mutate


def swapping(one: str, other: str) -> Mutation:
    def mutate(event: Event) -> None:
        event[one], event[other] = event[other], event[one]

    mutate.__name__ = f"{one}<->{other}"
    return mutate


Expected = str | tuple[str, ...]
BINANCE: list[tuple[Any, Mutation, Expected]] = [
    # times: unit errors, years, signs
    (BINANCE_TRADE, scaling("T", 1e-3), "event_time_before_market"),
    (BINANCE_TRADE, scaling("T", 1e6), "time_out_of_range"),
    (BINANCE_TRADE, setting("T", 10_413_792_000_000), "time_out_of_range"),
    (BINANCE_TRADE, setting("T", 9_000_000_000_000), "event_time_in_future"),
    (BINANCE_TRADE, setting("T", 0), ("event_time_missing", "time_out_of_range")),
    (BINANCE_TRADE, setting("T", 1), "event_time_before_market"),
    (BINANCE_TRADE, setting("T", -1), "time_out_of_range"),
    (BINANCE_TRADE, setting("T", 2**64 - 1), ("time_out_of_range", "undecodable", "integer_overflow")),
    (BINANCE_TRADE, setting("T", "yesterday"), "field_malformed"),
    # prices and sizes
    (BINANCE_TRADE, setting("p", "0.00000000"), "price_not_positive"),
    (BINANCE_TRADE, setting("p", "-61837.63000000"), "price_not_positive"),
    (BINANCE_TRADE, setting("p", "NaN"), "decimal_malformed"),
    (BINANCE_TRADE, setting("p", "Infinity"), "decimal_malformed"),
    (BINANCE_TRADE, setting("p", ""), "decimal_malformed"),
    (BINANCE_TRADE, setting("p", "61837."), "decimal_malformed"),
    (BINANCE_TRADE, setting("p", "61,837.63"), "decimal_malformed"),
    (BINANCE_TRADE, setting("p", "1" * 30), ("decimal_overflow", "price_implausible")),
    (BINANCE_TRADE, setting("p", "1." + "1" * 31), "decimal_overflow"),
    (BINANCE_TRADE, setting("p", None), ("field_malformed", "field_missing", "price_missing")),
    (BINANCE_TRADE, setting("p", {"value": 1}), "field_malformed"),
    (BINANCE_TRADE, setting("p", "6183763.00000000"), "price_far_out"),
    (BINANCE_TRADE, setting("p", "618.37630000"), "price_far_out"),
    (BINANCE_TRADE, dropping("p"), "field_missing"),
    (BINANCE_TRADE, setting("q", "-0.02000000"), "size_negative"),
    (BINANCE_TRADE, setting("q", "18446744073709551615"), ("size_implausible", "decimal_overflow")),
    (BINANCE_TRADE, dropping("q"), "field_missing"),
    # ids and names
    (BINANCE_TRADE, setting("t", -559284037), "integer_overflow"),
    (BINANCE_TRADE, setting("t", 2**64), ("integer_overflow", "undecodable")),
    (BINANCE_TRADE, setting("t", "abc"), "field_malformed"),
    (BINANCE_TRADE, dropping("t"), "field_missing"),
    (BINANCE_TRADE, dropping("s"), ("field_missing", "symbol_missing")),
    (BINANCE_TRADE, setting("e", "tradf"), "unknown_message"),
    (BINANCE_TRADE, setting("m", "maybe"), "field_malformed"),
    # quotes, books, bars
    (BINANCE_QUOTE, setting("b", "-1.00000000"), "price_not_positive"),
    (BINANCE_QUOTE, setting("A", "-1.00000000"), "size_negative"),
    (BINANCE_QUOTE, setting("a", "NaN"), "decimal_malformed"),
    (BINANCE_BOOK, setting("a", [["61838.04000000", "-1.00000000"]]), "size_negative"),
    (BINANCE_BOOK, setting("a", [["0.00000000", "1.00000000"]]), "price_not_positive"),
    (BINANCE_BOOK, setting("a", [["61838.04000000"]]), ("levels_uneven", "field_malformed")),
    (BINANCE_BOOK, setting("b", [["NaN", "1.00000000"]]), "decimal_malformed"),
    (BINANCE_BOOK, swapping("U", "u"), "range_reversed"),
    (BINANCE_BOOK, dropping("u"), "field_missing"),
]
BARS: list[tuple[Mutation, Expected]] = [
    (swapping("h", "l"), "ohlc_inconsistent"),
    (setting("o", "99999.00000000"), "ohlc_inconsistent"),
    (setting("v", "-12.50000000"), "size_negative"),
    (setting("l", "0"), "price_not_positive"),
    (scaling("t", 1e-3), "event_time_before_market"),
    (dropping("c"), "field_missing"),
]
POLYGON: list[tuple[int, Mutation, Expected]] = [
    (0, scaling("t", 1e-3), "event_time_before_market"),
    (0, scaling("t", 1e3), ("time_out_of_range", "event_time_in_future")),
    (0, scaling("t", 1e6), "time_out_of_range"),
    (0, setting("t", 0), ("event_time_missing", "time_out_of_range")),
    (0, setting("p", -161.87), "price_not_positive"),
    (0, setting("p", 0), "price_not_positive"),
    (0, setting("p", 16187), "price_far_out"),
    (0, setting("p", "x"), ("field_malformed", "decimal_malformed")),
    (1, setting("s", -100), "size_negative"),
    (1, setting("s", 4294967295), "size_implausible"),
    (1, dropping("p"), "field_missing"),
    (1, setting("ev", "TT"), "unknown_message"),
    (2, setting("bp", -1), "price_not_positive"),
    (2, setting("as", -1), "size_negative"),
    (2, setting("t", 10_413_792_000_000), "time_out_of_range"),
]
ALPACA: list[tuple[int, Mutation, Expected]] = [
    (0, setting("t", "2299-04-06T11:54:26Z"), "time_out_of_range"),
    (0, setting("t", "1970-01-01T00:00:00Z"), ("event_time_before_market", "time_out_of_range")),
    (0, setting("t", "2023-13-06T11:54:26Z"), ("field_malformed", "time_out_of_range")),
    (0, setting("t", ""), ("field_malformed", "time_out_of_range")),
    (0, setting("p", 0), "price_not_positive"),
    (0, setting("p", 1.6292), "price_far_out"),
    (1, setting("s", -3), "size_negative"),
    (1, dropping("t"), "field_missing"),
    (2, setting("bp", -1), "price_not_positive"),
    (2, setting("as", -2), "size_negative"),
]


def outcomes(venue: str, payloads: list[bytes]) -> list[list[Any]]:
    """Per frame: records that pass with their flags, or (code,) of what is caught, in the frame's order."""
    exchange = exchanges.load(venue)
    parser = exchange()
    checker = Checker(exchange, [STATISTICS[venue]], judge_lateness=False)
    results = []
    for number, payload in enumerate(payloads, 1):
        frame = Frame(venue, "c", number, "", RECEIVE_NS[venue] + number, payload)
        events: list[Any] = []
        for outcome in parser.parse(frame):
            if isinstance(outcome, Rejected):
                events.append((outcome.code,))
            elif isinstance(outcome, Record):
                hard = [f.code for f in checker.check(outcome) if f.severity.name == "HARD"]
                events.append(tuple(hard) if hard else outcome)
        results.append(events)
    return results


def wire(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def caught(found: Any, expected: Expected) -> bool:
    wanted = (expected,) if isinstance(expected, str) else expected
    return isinstance(found, tuple) and len(found) == 1 and str(found[0]) in wanted


@pytest.mark.parametrize(
    ("frame", "mutation", "expected"), BINANCE, ids=lambda value: getattr(value, "__name__", None)
)
def test_corrupt_binance_frame_is_caught_and_its_neighbours_stay(
    frame: Any, mutation: Mutation, expected: Expected
) -> None:
    neighbours = [BINANCE_QUOTE, BINANCE_BOOK, BINANCE_KLINE]
    broken = deepcopy(frame)
    mutation(broken["data"])
    sent = [wire(neighbours[0]), wire(broken), *map(wire, neighbours[1:])]
    before, found, *after = outcomes("binance", sent)
    assert len(found) == 1
    assert caught(found[0], expected), found
    clean = outcomes("binance", [sent[0], wire(frame), *sent[2:]])
    assert [before, *after] == [clean[0], *clean[2:]]
    assert all(isinstance(event, Record) for events in clean for event in events)


@pytest.mark.parametrize(("mutation", "expected"), BARS, ids=lambda value: getattr(value, "__name__", None))
def test_corrupt_bar_is_caught(mutation: Mutation, expected: Expected) -> None:
    broken = deepcopy(BINANCE_KLINE)
    mutation(broken["data"]["k"])  # type: ignore[index]
    [found] = outcomes("binance", [wire(broken)])
    assert caught(found[0], expected), found


@pytest.mark.parametrize(
    ("venue", "events", "row", "mutation", "expected"),
    [("polygon", POLYGON_TRADES, *case) for case in POLYGON]
    + [("alpaca", ALPACA_TRADES, *case) for case in ALPACA],
    ids=lambda value: getattr(value, "__name__", None) or (value if isinstance(value, str) else ""),
)
def test_one_corrupt_event_of_an_array_costs_only_itself(
    venue: str, events: list[Event], row: int, mutation: Mutation, expected: Expected
) -> None:
    broken = deepcopy(events)
    mutation(broken[row])
    [clean] = outcomes(venue, [wire(events)])
    [found] = outcomes(venue, [wire(broken)])
    assert len(found) == len(clean) == len(events)
    assert caught(found[row], expected), found[row]
    assert [event for n, event in enumerate(found) if n != row] == [
        event for n, event in enumerate(clean) if n != row
    ]
    assert all(isinstance(event, Record) for event in clean)


@pytest.mark.parametrize(
    "payload",
    [
        wire(BINANCE_TRADE)[:-9],
        wire(BINANCE_TRADE)[:40],
        b"\xff\xfe" + wire(BINANCE_TRADE),
        wire(BINANCE_TRADE).replace(b"BTC", b"\xc3\x28C"),
        b"",
        b"null",
        b"[1,2",
        wire(BINANCE_TRADE).replace(b'"p":', b'"p":NaN,"x":'),
    ],
)
def test_a_cut_or_garbled_frame_is_one_quarantined_event(payload: bytes) -> None:
    [found] = outcomes("binance", [payload])
    assert len(found) == 1
    assert isinstance(found[0], tuple)


def test_a_repeated_id_with_other_content_is_caught() -> None:
    other = deepcopy(BINANCE_TRADE)
    other["data"]["q"] = "0.03000000"  # type: ignore[index]
    first, repeated, again = outcomes("binance", [wire(BINANCE_TRADE), wire(other), wire(BINANCE_TRADE)])
    assert isinstance(first[0], Record)
    assert repeated == [("identity_conflict",)]
    assert isinstance(again[0], Record)


@pytest.mark.parametrize(
    ("venue", "frame", "one", "other"),
    [("binance", BINANCE_QUOTE, "b", "a"), ("polygon", POLYGON_TRADES, "bp", "ap")],
)
def test_swapped_sides_are_stored_with_a_flag(venue: str, frame: Any, one: str, other: str) -> None:
    swapped = deepcopy(frame)
    swapping(one, other)(swapped["data"] if isinstance(swapped, dict) else swapped[2])
    exchange = exchanges.load(venue)
    payload = wire(swapped)
    records = exchange().parse(Frame(venue, "c", 1, "", RECEIVE_NS[venue], payload))
    found = [finding.code for finding in Checker(exchange).check(records[-1])]  # type: ignore[arg-type]
    assert found == ["quote_crossed"]


def test_the_catalogue_has_at_least_25_kinds() -> None:
    kinds = {mutation.__name__ for _, mutation, _ in BINANCE}
    assert len(kinds) + len(BARS) >= 25
