from __future__ import annotations

import random
from decimal import Decimal

import pytest

from etl.adapter import levels
from etl.adapter.levels import LevelBook
from etl.model.records import Book, BookAction, Kind
from tests.support.venues import altered


def change(bids: dict[str, str], asks: dict[str, str], action: BookAction = BookAction.ABSOLUTE) -> Book:
    changed: Book = altered(
        Kind.BOOK,
        book_action=action,
        bid_prices=tuple(bids),
        bid_sizes=tuple(bids.values()),
        ask_prices=tuple(asks),
        ask_sizes=tuple(asks.values()),
    )
    return changed


def test_levels_are_kept_from_the_best_on_in_the_words_of_the_venue() -> None:
    book = LevelBook()
    book.apply(change({"9.0": "1", "10.00": "2"}, {"11": "3.0", "10.5": "4"}, BookAction.SNAPSHOT))
    book.apply(change({"10.0": "5", "9": "0.000"}, {"12": "0", "10.6": "1"}))
    assert book.bids() == [("10.0", "5")], "10.00 and 10.0 are one level"
    assert book.asks(2) == [("10.5", "4"), ("10.6", "1")]
    book.apply(change({}, {"7": "1"}, BookAction.SNAPSHOT))
    assert (book.bids(), book.asks()) == ([], [("7", "1")])


def test_what_lies_deeper_than_the_venue_keeps_is_forgotten() -> None:
    book = LevelBook(2)
    book.apply(change({"1": "1", "2": "1", "3": "1"}, {}, BookAction.SNAPSHOT))
    assert book.bids() == [("3", "1"), ("2", "1")]
    book.apply(change({"3": "0"}, {}))
    assert book.bids() == [("2", "1")], "the venue sends a level again that comes back into its depth"


def test_a_book_without_depth_is_bounded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "LEVELS_MAX", 3)
    book = LevelBook()
    book.apply(change({}, {str(price): "1" for price in range(9, 0, -1)}))
    assert [price for price, _ in book.asks()] == ["1", "2", "3"]


def test_any_changes_leave_what_a_plain_dictionary_holds() -> None:
    generator, book, plain = random.Random(7), LevelBook(), {}
    for _ in range(500):
        price, size = f"{generator.randrange(1, 60) / 10:g}", generator.choice(("0", "0.0", "1", "2.50"))
        book.apply(change({price: size}, {}))
        plain[Decimal(price)] = (price, size)
        if not Decimal(size):
            del plain[Decimal(price)]
    assert book.bids() == [plain[key] for key in sorted(plain, reverse=True)]


def test_prices_of_more_digits_than_pythons_own_context_has_are_levels_of_their_own() -> None:
    first, second = "61837.1234567890123456789012345", "61837.1234567890123456789012346"
    book = LevelBook()
    book.apply(change({first: "1", second: "2"}, {}))
    assert book.bids() == [(second, "2"), (first, "1")]
