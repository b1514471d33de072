"""Whatever the bytes, a parser gives typed results, each event exactly one, and records that can be stored.

``ETL_TEST_FUZZ_FRAMES`` sets how many mutated frames each fixture file gives (default: a few hundred).
"""

from __future__ import annotations

import json
import os
import random
import re
from pathlib import Path
from typing import Any

import pytest

from etl.adapter.contract import Exchange, Ignored, Outcome, Rejected
from etl.model.records import Frame, Record
from tests.support import fixtures
from tests.support.mutations import mutated, wrong_value

FRAMES = int(os.environ.get("ETL_TEST_FUZZ_FRAMES", "400"))
NEIGHBOUR_ROUNDS = 20
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
DECIMAL_FIELDS = frozenset(
    (
        *("last_price", "volume", "bid", "bid_size", "ask", "ask_size", "limit_down", "limit_up"),
        *("open", "high", "low", "close", "vwap", "quote_volume", "taker_buy_volume"),
        *("mark_price", "index_price", "open_interest", "funding_rate"),
    )
)
LEVEL_FIELDS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_any_frame_gives_typed_results_that_account_for_it(path: Path) -> None:
    exchange = fixtures.feed_of(path)
    lines = fixtures.read(path)
    parser = exchange()
    for seed in range(FRAMES):
        line = lines[seed % len(lines)]
        payload = mutated(line.payload, seed)
        frame = Frame(exchange.name, "c", seed + 1, line.endpoint, line.receive_time_ns, payload)
        outcomes = parser.parse(frame)
        try:
            judge(exchange, outcomes)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {line.endpoint!r}: {payload[:300]!r}") from error


def judge(exchange: type[Exchange], outcomes: Any) -> None:
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)
    events = [outcome for outcome in outcomes if isinstance(outcome, Record | Rejected | Ignored)]
    assert events, "a frame that gives no event"
    places = [event.frame_index if isinstance(event, Record) else event.index for event in events]
    assert len(set(places)) == len(places)
    for event in events:
        if isinstance(event, Record):
            judge_record(exchange, event)
        elif isinstance(event, Ignored):
            assert event.name in exchange.ignored_names
        else:
            assert str(event.code)


def judge_record(exchange: type[Exchange], record: Record) -> None:
    assert record.exchange == exchange.name
    assert record.symbol
    assert record.record_key
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if name in DECIMAL_FIELDS and value is not None:
            assert DECIMAL.fullmatch(value), f"{name}={value!r}"
        if isinstance(value, int):
            assert -(2**63) <= value < 2**63, f"{name}={value}"
    columns = [getattr(record, name, ()) for name in LEVEL_FIELDS]
    assert len(columns[0]) == len(columns[1])
    assert len(columns[2]) == len(columns[3])
    assert all(DECIMAL.fullmatch(text) for column in columns for text in column)


def _arrays() -> list[tuple[Path, int]]:
    """Frames of the fixtures that hold several events as a JSON array; without twins, which only their order
    tells apart."""
    found = []
    for path in fixtures.paths():
        for number, line in enumerate(fixtures.read(path)):
            try:
                frame = json.loads(line.frame)
            except ValueError:
                continue
            if not isinstance(frame, list) or len(set(map(str, frame))) < len(frame):
                continue
            if len(frame) > 1 and len(line.gives) == len(frame):
                found.append((path, number))
    return found


@pytest.mark.parametrize(("path", "number"), _arrays(), ids=lambda value: getattr(value, "stem", value))
def test_neighbours_of_a_wrong_event_come_out_exactly(path: Path, number: int) -> None:
    exchange = fixtures.feed_of(path)
    line = fixtures.read(path)[number]
    elements = json.loads(line.frame)
    unhurt = by_place(exchange().parse(fixtures.frame_of(line, exchange.name, 1)))
    for seed in range(NEIGHBOUR_ROUNDS):
        generator = random.Random(seed)
        at = generator.randrange(len(elements))
        wrong = [*elements[:at], wrong_value(elements[at], generator), *elements[at + 1 :]]
        text = json.dumps(wrong, separators=(",", ":"))
        frame = fixtures.frame_of(
            fixtures.FixtureLine(text, [], line.receive_time_ns, line.endpoint), exchange.name, 1
        )
        outcomes = by_place(exchange().parse(frame))
        for place, outcome in unhurt.items():
            if place != at:
                assert outcomes.get(place) == outcome, f"seed {seed}: {text[:300]}"


def by_place(outcomes: Any) -> dict[int, Outcome]:
    return {
        outcome.frame_index if isinstance(outcome, Record) else outcome.index: outcome
        for outcome in outcomes
        if isinstance(outcome, Record | Rejected | Ignored)
    }
