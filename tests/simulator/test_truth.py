"""Who makes an event says what it is, and the venue's parser reads it: here the two meet, of every simulated venue."""

from __future__ import annotations

import random
from collections.abc import Sequence
from urllib.parse import unquote

import pytest

from etl.adapter.contract import Exchange, Subscription
from etl.exchanges import load
from etl.simulator.connection import Connection
from etl.simulator.frame_faults import Fault, Outgoing, cut
from etl.simulator.session import Item, SyntheticSession
from etl.simulator.truth import CONTENT_END, IGNORED, INVALID, TruthEvent, digest_of, numbered, place_of
from etl.simulator.venue import Venue
from etl.simulator.venues import make_venue, names
from etl.simulator.words import new_york_day, read_time, time_text
from tests.support.conformance import table_of
from tests.support.serving import identity, parsed

SECOND = 1_000_000_000
T0 = 1_795_242_275_000_000_000
STREAM_URL = "ws://127.0.0.1:1/x/stream?streams=btcusdt@trade"
STREAMED = [name for name in names() if make_venue(name).channels]
"""What a venue without a stream answers is held against its parser in a file of its own."""
SIMULATED = {name: table for name in STREAMED if (table := table_of(name).simulated)}


def synthetic(exchange: str, seconds: int = 130) -> tuple[SyntheticSession, list[Item]]:
    """Over a minute of every stream, so that bars close."""
    venue = make_venue(exchange)
    session = SyntheticSession(venue, 20.0, seed=5)
    for symbol in list(venue.symbols)[:2]:
        for channel in SIMULATED[exchange].streams:
            session.subscribe(venue.stream(symbol, channel))
    return session, [item for tick in range(seconds * 2) for item in session.due(T0 + tick * SECOND // 2)]


def opened(venue: Venue, parser: Exchange) -> Connection:
    """A connection of the venue; where its frames mean nothing before, with all that the parser subscribes to."""
    connection, table = Connection(), SIMULATED[venue.exchange]
    if table.is_opened:
        venue.opened(connection)
        for text in parser.open(Subscription(tuple(venue.symbols)[:2], table.streams), T0):
            venue.received(connection, text, ())
        for answer in connection.outbox:
            payload = venue.stamped(connection, answer, "")
            assert parsed(parser, 0, payload, STREAM_URL) == [(IGNORED, "", "")], answer
    return connection


def told(events: Sequence[TruthEvent]) -> list[tuple[str, str, str]]:
    return [identity(event) for event in events]


def test_every_simulated_venue_is_held_against_its_parser() -> None:
    assert set(SIMULATED) == set(STREAMED), "their <feed>.conformance.json says by which streams and requests"
    assert all(set(SIMULATED[name].streams) <= set(make_venue(name).channels) for name in STREAMED)


@pytest.mark.parametrize("exchange", list(SIMULATED))
def test_parser_and_truth_name_every_synthetic_event_alike(exchange: str) -> None:
    session, items = synthetic(exchange)
    venue, parser, contents = make_venue(exchange), load(exchange)(), dict[str, int]()
    connection = opened(venue, parser)
    kinds = set()
    for number, item in enumerate(items, 1):
        expected = told(numbered([item.event], contents))
        payload = venue.stamped(connection, venue.join([item]), item.stream)
        assert parsed(parser, number, payload, STREAM_URL) == expected, item
        kinds |= {kind for kind, _, _ in expected}
    assert kinds - {IGNORED} == {
        channel.form.kind for name, channel in venue.channels.items() if name in SIMULATED[exchange].streams
    }
    for path in SIMULATED[exchange].requests:
        asked, _, body = path.partition("#body=")
        endpoint, _, query = asked.partition("?")
        pairs = dict(pair.split("=") for pair in query.split("&") if pair)
        pairs |= {"body": unquote(body)} if body else {}
        answer = venue.answer(endpoint, pairs, session, T0 + 200 * SECOND)
        assert answer is not None
        assert answer.status == 200
        expected = told(numbered(answer.events, {}))
        assert IGNORED not in {kind for kind, _, _ in expected}, path
        assert parsed(load(exchange)(), 1, answer.body, "http://127.0.0.1:1/x" + path) == expected


@pytest.mark.parametrize("exchange", list(SIMULATED))
def test_a_broken_frame_is_one_invalid_event_for_both(exchange: str) -> None:
    _, items = synthetic(exchange, seconds=8)
    venue, rng = make_venue(exchange), random.Random(3)
    for number, item in enumerate(items, 1):
        whole, broken = cut(Outgoing([item], venue.join([item])), Fault("cut"), 0, rng)
        assert (whole.is_sent, broken.is_sent, len(broken.items)) == (False, True, 0)
        assert told(broken.told) == [(INVALID, "", "")]
        assert parsed(load(exchange)(), number, broken.payload, STREAM_URL) == told(broken.told), broken


@pytest.mark.parametrize("exchange", STREAMED)
def test_an_undocumented_event_is_invalid_for_the_parser_too(exchange: str) -> None:
    frame = make_venue(exchange).unknown_event(T0)
    assert parsed(load(exchange)(), 1, frame, STREAM_URL) == [(INVALID, "", "")]


def test_equal_contents_of_one_connection_are_counted_and_another_connection_begins_anew() -> None:
    _, items = synthetic("alpaca", seconds=8)
    quote = next(item for item in items if item.event.record_key.endswith(CONTENT_END))
    contents: dict[str, int] = {}
    keys = [numbered([quote.event], contents)[0].record_key for _ in range(3)]
    assert [key.rpartition("/")[2] for key in keys] == ["0", "1", "2"]
    assert numbered([quote.event], {})[0].record_key == keys[0]
    frame, parser = make_venue("alpaca").join([quote]), load("alpaca")()
    assert [parsed(parser, n, frame, STREAM_URL)[0][2] for n in (1, 2, 3)] == keys


@pytest.mark.parametrize(
    ("told", "tape", "place"),
    [
        ("stream", "ws://127.0.0.1:8700/polygon/stream?streams=btcusdt@trade", ""),
        ("control", "wss://host/polygon/stocks", ""),
        (
            "/v3/trades/AAPL?limit=5",
            "http://127.0.0.1:8701/polygon/v3/trades/AAPL?limit=5",
            "v3/trades/AAPL?limit=5",
        ),
        ("/v2/x?symbols=A%2CB", "http://127.0.0.1:1/polygon/v2/x?symbols=A,B", "v2/x?symbols=A,B"),
        (
            "/info?#body=%7B%22type%22%3A%22l2Book%22%7D",
            "http://127.0.0.1:1/polygon/info#body=%7B%22type%22%3A%22l2Book%22%7D",
            'info#body={"type":"l2Book"}',
        ),
        (
            "archive:/data/spot/BTC-trades.zip?",
            "archive:http://127.0.0.1:1/polygon/data/spot/BTC-trades.csv#lines=1-5;sha256=ab.c",
            "data/spot/BTC-trades",
        ),
    ],
)
def test_a_request_is_known_by_where_it_went_on_both_sides(told: str, tape: str, place: str) -> None:
    assert place_of(told) == place_of(tape, "polygon") == place
    assert (digest_of(b"[]", place) == digest_of(b"[]")) == (not place)


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
    assert read_time(text) == time_ns


@pytest.mark.parametrize(
    ("time_ns", "day"),
    [(1_795_237_200_000_000_000, "2026-11-21"), (1_795_237_199_999_999_999, "2026-11-20")],
)
def test_the_day_is_new_yorks(time_ns: int, day: str) -> None:
    assert new_york_day(time_ns) == day
