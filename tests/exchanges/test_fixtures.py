"""Every fixture file, exactly; a new venue needs no edit here."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.adapter.contract import Ignored, Rejected
from etl.exchanges import names
from etl.model.records import Record
from tests.support import fixtures


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_each_frame_gives_exactly_these_records(path: Path) -> None:
    exchange = fixtures.feed_of(path)
    parser = exchange()
    for number, line in enumerate(fixtures.read(path), 1):
        outcomes = parser.parse(fixtures.frame_of(line, exchange.name, number))
        assert fixtures.described(outcomes) == line.gives, f"{path.name}, frame {number}"


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_what_is_left_aside_is_on_the_documented_list(path: Path) -> None:
    exchange = fixtures.feed_of(path)
    parser = exchange()
    for number, line in enumerate(fixtures.read(path), 1):
        for outcome in parser.parse(fixtures.frame_of(line, exchange.name, number)):
            if isinstance(outcome, Ignored):
                assert outcome.name in exchange.ignored_names


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_each_event_has_its_own_place_in_the_frame(path: Path) -> None:
    exchange = fixtures.feed_of(path)
    parser = exchange()
    for number, line in enumerate(fixtures.read(path), 1):
        outcomes = parser.parse(fixtures.frame_of(line, exchange.name, number))
        places = [outcome.frame_index for outcome in outcomes if isinstance(outcome, Record)]
        places += [outcome.index for outcome in outcomes if isinstance(outcome, Rejected)]
        assert len(set(places)) == len(places)


@pytest.mark.parametrize("name", names())
def test_each_venue_has_a_fixture_file(name: str) -> None:
    assert any(path.name.partition(".")[0] == name for path in fixtures.paths())
