"""The simulator's identities and the parsers' are two readings of one contract: here they meet."""

from __future__ import annotations

import gzip
import json
import random

import pytest

from etl.adapter.contract import Exchange, Ignored, Rejected
from etl.exchanges import load
from etl.model.records import Frame, Record
from etl.simulator.alpaca import read_time, time_text
from etl.simulator.identities import IGNORED, INVALID, events, new_york_day, time_of
from etl.simulator.recording import SHIPPED
from etl.simulator.serve import make_venue
from etl.simulator.session import SyntheticSession

SECOND = 1_000_000_000
T0 = 1_795_242_275_000_000_000
STREAM_URLS = {
    "binance": "ws://127.0.0.1:1/binance/stream?streams=btcusdt@trade",
    "binance_usdm": "ws://127.0.0.1:1/binance_usdm/stream?streams=btcusdt@trade",
    "polygon": "ws://127.0.0.1:1/polygon",
    "alpaca": "ws://127.0.0.1:1/alpaca",
}
STREAMS = {
    "binance": ("trade", "aggTrade", "bookTicker", "depth", "kline_1s", "kline_1m"),
    "binance_usdm": ("trade", "aggTrade", "bookTicker", "depth", "kline_1m", "markPrice@1s", "forceOrder"),
    "polygon": ("T", "Q", "A", "AM"),
    "alpaca": ("trades", "quotes", "bars"),
}
REQUESTS = {
    "binance": (
        "/api/v3/depth?symbol=BTCUSDT&limit=1000",
        "/api/v3/historicalTrades?symbol=BTCUSDT&fromId=1&limit=50",
        "/api/v3/aggTrades?symbol=BTCUSDT&fromId=1&limit=50",
        "/api/v3/klines?symbol=BTCUSDT&interval=1s",
    ),
    "binance_usdm": (
        "/fapi/v1/depth?symbol=BTCUSDT&limit=1000",
        "/fapi/v1/historicalTrades?symbol=BTCUSDT&fromId=1&limit=50",
        "/fapi/v1/klines?symbol=BTCUSDT&interval=1m",
    ),
    "polygon": (
        "/v3/trades/AAPL?limit=50",
        "/v3/quotes/AAPL?limit=50",
        "/v2/aggs/ticker/AAPL/range/1/second/0/9999999999999",
    ),
    "alpaca": (
        "/v2/stocks/trades?symbols=AAPL,MSFT&limit=50",
        "/v2/stocks/quotes?symbols=AAPL,MSFT&limit=50",
        "/v2/stocks/bars?symbols=AAPL,MSFT&timeframe=1Min",
    ),
}


def parsed(parser: Exchange, number: int, payload: bytes, endpoint: str) -> list[tuple[str, str, str]]:
    """What the venue's parser makes of a frame, in the words of the truth."""
    found = []
    for outcome in parser.parse(Frame(parser.name, "c", number, endpoint, T0, payload)):
        if isinstance(outcome, Record):
            found.append((outcome.kind.name.lower(), outcome.symbol, outcome.record_key))
        elif isinstance(outcome, Ignored):
            found.append((IGNORED, "", ""))
        elif isinstance(outcome, Rejected):
            found.append((INVALID, "", ""))
    return found


def told(exchange: str, payload: bytes, endpoint: str = "") -> list[tuple[str, str, str]]:
    return [
        (event.kind, "", "")
        if event.kind in (IGNORED, INVALID)
        else (event.kind, event.symbol, event.record_key)
        for event in events(exchange, payload, endpoint)
    ]


def synthetic(exchange: str, seconds: int = 130) -> tuple[SyntheticSession, list[bytes]]:
    """Over a minute of every stream, so that bars close."""
    venue = make_venue(exchange)
    session = SyntheticSession(venue, 20.0, seed=5)
    symbols = ("btcusdt", "ethusdt") if exchange.startswith("binance") else ("AAPL", "MSFT")
    for symbol in symbols:
        for channel in STREAMS[exchange]:
            is_binance = exchange.startswith("binance")
            session.subscribe(f"{symbol}@{channel}" if is_binance else f"{channel}.{symbol}")
    frames = []
    for tick in range(seconds * 2):
        for item in session.due(T0 + tick * SECOND // 2):
            frames.append(venue.join([item]))
    return session, frames


@pytest.mark.parametrize("exchange", list(STREAMS))
def test_parser_and_truth_name_every_synthetic_event_alike(exchange: str) -> None:
    session, frames = synthetic(exchange)
    parser = load(exchange)()
    kinds = set()
    for number, frame in enumerate(frames, 1):
        expected = told(exchange, frame)
        assert parsed(parser, number, frame, STREAM_URLS[exchange]) == expected, frame
        kinds |= {kind for kind, _, _ in expected}
    assert kinds >= {"trade", "quote", "bar"}
    assert exchange != "binance_usdm" or kinds >= {"stats", "liquidation"}
    venue = make_venue(exchange)
    for path in REQUESTS[exchange]:
        endpoint, _, query = path.partition("?")
        pairs = dict(pair.split("=") for pair in query.split("&") if pair)
        answer = venue.answer(endpoint, pairs, session, T0 + 200 * SECOND)
        assert answer is not None
        assert answer.status == 200
        expected = told(exchange, answer.body, path)
        assert IGNORED not in {kind for kind, _, _ in expected}, path
        assert parsed(load(exchange)(), 1, answer.body, "http://127.0.0.1:1/x" + path) == expected


def test_parser_and_truth_name_every_recorded_event_alike() -> None:
    parser = load("binance")()
    (path,) = SHIPPED.glob("binance.*")
    with gzip.open(path) as file:
        for number, line in enumerate(file, 1):
            recorded = json.loads(line)
            payload, url = recorded["frame"].encode(), recorded.get("url", "")
            assert parsed(parser, number, payload, url or STREAM_URLS["binance"]) == told(
                "binance", payload, url
            )


@pytest.mark.parametrize("exchange", list(STREAMS))
def test_a_broken_frame_is_one_invalid_event_for_both(exchange: str) -> None:
    _, frames = synthetic(exchange, seconds=8)
    rng = random.Random(3)
    for number, frame in enumerate(frames, 1):
        cut = frame[: rng.randrange(1, len(frame) - 1)]
        assert told(exchange, cut) == [(INVALID, "", "")]
        assert parsed(load(exchange)(), number, cut, STREAM_URLS[exchange]) == [(INVALID, "", "")], cut


@pytest.mark.parametrize("exchange", ["binance", "polygon", "alpaca"])
def test_an_undocumented_event_is_invalid_for_both(exchange: str) -> None:
    frame = make_venue(exchange).unknown_event(T0)
    assert told(exchange, frame) == [(INVALID, "", "")]
    assert parsed(load(exchange)(), 1, frame, STREAM_URLS[exchange]) == [(INVALID, "", "")]


def test_equal_contents_of_one_connection_are_counted() -> None:
    quote = (
        b'[{"T":"q","S":"AAPL","bx":"V","bp":1.5,"bs":1,"ax":"K","ap":1.6,"as":2,"c":["R"],"z":"C",'
        b'"t":"2026-11-21T06:19:37.302192997Z"}]'
    )
    contents: dict[str, int] = {}
    keys = [events("alpaca", quote, "", contents)[0].record_key for _ in range(3)]
    assert [key.rpartition("/")[2] for key in keys] == ["0", "1", "2"]
    assert events("alpaca", quote)[0].record_key == keys[0]
    parser = load("alpaca")()
    assert [parsed(parser, n, quote, STREAM_URLS["alpaca"])[0][2] for n in (1, 2, 3)] == keys


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        (T0, "2026-11-21T06:24:35Z"),
        (T0 + 1, "2026-11-21T06:24:35.000000001Z"),
        (T0 + 500_000_000, "2026-11-21T06:24:35.5Z"),
    ],
)
def test_times_are_written_and_read_exactly(time_ns: int, text: str) -> None:
    assert time_text(time_ns) == text
    assert read_time(text) == time_of(text) == time_ns


@pytest.mark.parametrize(
    ("time_ns", "day"),
    [(1_795_237_200_000_000_000, "2026-11-21"), (1_795_237_199_999_999_999, "2026-11-20")],
)
def test_the_day_is_new_yorks(time_ns: int, day: str) -> None:
    assert new_york_day(time_ns) == day
