"""Books out of the lake: the levels by arrays are those of the plain order book, at every instant."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from msgspec import structs

from etl.errors import UsageError
from etl.lake import Lake, book_levels
from etl.lake.book_levels import levels_after
from etl.model.records import Book, BookAction, GapKind, GapState
from etl.sequencing.book import OrderBook
from etl.settings import Settings
from tests.support import stream
from tests.support.lake import complete_until, export_records

MS, START = stream.MS, stream.START_NS


def drawn(draw: random.Random, count: int, change: BookAction, depth: int) -> Iterator[Book]:
    """Messages around a price that moves; now and then a snapshot."""
    middle = 1_000
    for number in range(count):
        action = BookAction.SNAPSHOT if number == 0 or draw.random() < 0.02 else change
        middle += draw.randrange(-2, 3)

        def side(
            sign: int, action: BookAction = action, middle: int = middle
        ) -> tuple[tuple[str, ...], tuple[str, ...]]:
            prices = draw.sample([f"{middle + sign * step}.5" for step in range(1, 12)], draw.randrange(6))
            sizes = [draw.choice(["0", "0.5", "1.25", "3"]) for _ in prices]
            if action is BookAction.RELATIVE:
                sizes = [draw.choice(["-0.5", "0.5", "1"]) for _ in prices]
            return tuple(prices), tuple(sizes)

        (bid_prices, bid_sizes), (ask_prices, ask_sizes) = side(-1), side(1)
        yield stream.book(
            number, book_action=action, depth=depth, bid_prices=bid_prices, bid_sizes=bid_sizes, ask_prices=ask_prices,
            ask_sizes=ask_sizes, first_sequence=number, record_key=f"depth@100ms/d/{number:06d}",
        )  # fmt: skip


def frame_of(books: Sequence[Book]) -> pl.DataFrame:
    levels = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    kind = pl.List(pl.Decimal(38, 8))
    columns: dict[str, Any] = {
        name: pl.Series([[Decimal(text) for text in getattr(one, name)] for one in books], dtype=kind)
        for name in levels
    }
    return pl.DataFrame(
        {
            "book_action": [one.book_action.name.lower() for one in books],
            "depth": [one.depth for one in books],
            **columns,
        }
    )


def plain(levels: Sequence[tuple[str, str]]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(size)) for price, size in levels]


@pytest.mark.parametrize(
    ("change", "depth"),
    [*((action, 0) for action in BookAction if action), (BookAction.ABSOLUTE, 4), (BookAction.SNAPSHOT, 4)],
)
@pytest.mark.parametrize("chunk", [7, 1_000])
def test_the_levels_are_those_of_the_plain_book(
    change: BookAction, depth: int, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_levels, "MESSAGES_PER_CHUNK", chunk)
    books = list(drawn(random.Random(f"{change}{depth}"), 200, change, depth))
    counts = np.array([0, 0, 1, *range(2, 150, 3), 149, 150, 200, 200])
    found = {
        side: levels_after(frame_of(books), side, counts, levels_max).rows()
        for side, levels_max in (("bid", 0), ("ask", 3))
    }
    book, done = OrderBook(), 0
    for place, count in enumerate(counts.tolist()):
        for one in books[done:count]:
            book.apply(one)
        done = count
        assert list(zip(*found["bid"][place], strict=True)) == plain(book.bids())
        assert list(zip(*found["ask"][place], strict=True)) == plain(book.asks(3))
    assert any(len(bids) > 3 for bids, _ in found["bid"])


BIDS: dict[str, Any] = {"bid_prices": ("100", "99.5"), "bid_sizes": ("1", "2")}
ASKS: dict[str, Any] = {"ask_prices": ("100.5", "101"), "ask_sizes": ("3", "4")}
SNAPSHOT = stream.book(
    0, book_action=BookAction.SNAPSHOT, record_key="depth/s/0", channel="depth", **BIDS, **ASKS
)


def change(
    number: int, bid: tuple[str, str] = ("", ""), ask: tuple[str, str] = ("", ""), **values: Any
) -> Book:
    sides = {
        "bid_prices": bid[:1] if bid[0] else (), "bid_sizes": bid[1:] if bid[0] else (),
        "ask_prices": ask[:1] if ask[0] else (), "ask_sizes": ask[1:] if ask[0] else (),
    }  # fmt: skip
    return stream.book(number, first_sequence=number, **(sides | values))


WHOLE = (
    change(-1, bid=("99.5", "7")),  # it came before the snapshot, which holds it
    SNAPSHOT,
    change(1, bid=("100", "0")),
    change(2, ask=("100.5", "0.25")),
    change(3, bid=("99.75", "5"), ask=("101", "0.00000001")),
)


def tops(found: pl.DataFrame) -> list[tuple[int, Any, Any, Any, bool]]:
    return [
        ((at - START) // MS, bids and bids[0], asks and asks[0], sequence, gap)
        for at, bids, asks, sequence, gap in found.select(
            "time_ns", "bid_prices", "ask_sizes", "sequence", "gap"
        ).iter_rows()
    ]


def test_a_book_at_an_instant_and_at_many(settings: Settings) -> None:
    export_records(settings, WHOLE)
    complete_until(settings, START + 10_000 * MS)
    lake = Lake(settings)
    found = lake.book("binance", "BTC-USDT", START + 3 * MS)
    assert found.bids.rows() == [(Decimal("99.75"), Decimal(5)), (Decimal("99.5"), Decimal(2))]
    assert found.asks.rows() == [(Decimal("100.5"), Decimal("0.25")), (Decimal(101), Decimal("0.00000001"))]
    assert (found.channel, found.sequence, found.update_time_ns, found.gap) == (
        "depth",
        3,
        START + 3 * MS,
        False,
    )
    assert lake.book("binance", "BTC-USDT", START, depth=1).bids.rows() == [(Decimal(100), Decimal(1))]

    every = lake.book_snapshots("binance", "BTC-USDT", START - 2 * MS, START + 6 * MS, every="2ms")
    assert tops(every.collect()) == [
        (-2, [], [], None, True),
        (0, Decimal(100), Decimal(3), 0, False),
        (2, Decimal("99.5"), Decimal("0.25"), 2, False),
        (4, Decimal("99.75"), Decimal("0.25"), 3, False),
    ]
    assert every.complete_until_ns == START + 10_000 * MS
    assert every.collect()["time"][1] == datetime(2024, 8, 8, 23, 54, 15, 342_000, tzinfo=UTC)
    one = lake.book_snapshots(
        "binance", "BTC-USDT", START, START + 4 * MS, every="1ms", depth=1, columns=["bid_sizes"]
    )
    assert one.collect()["bid_sizes"].to_list() == [[Decimal(1)], [Decimal(2)], [Decimal(2)], [Decimal(5)]]


def test_a_hole_is_told_until_the_next_snapshot(settings: Settings) -> None:
    lost = stream.gap(
        0, channel="depth@100ms", gap_kind=GapKind.DISCONNECT, gap_state=GapState.UNREPAIRABLE,
        from_time_ns=START + 5 * MS, to_time_ns=START + 6 * MS, from_sequence=None, to_sequence=None,
    )  # fmt: skip
    again = structs.replace(
        SNAPSHOT, sequence=8, event_time_ns=START + 8 * MS, receive_time_ns=START + 8 * MS, record_key="again"
    )
    export_records(
        settings, [*WHOLE, change(5, bid=("99", "1")), lost, again, change(9, ask=("100", "1")), change(10)]
    )
    found = (
        Lake(settings)
        .book_snapshots("binance", "BTC-USDT", START, START + 12 * MS, every="1ms", incomplete="allow")
        .collect()
    )
    # 4 is missing before 5, the gap is declared between 5 and 6, the book is crossed from 9 on
    assert found["gap"].to_list() == [False] * 5 + [True] * 3 + [False] + [True] * 3
    assert found["sequence"].to_list() == [0, 1, 2, 3, 3, 3, 3, 3, 8, 9, 10, 10]


def test_without_ids_only_the_connection_of_the_snapshot_continues_it(settings: Settings) -> None:
    bare: dict[str, Any] = {
        "exchange": "alpaca_crypto",
        "channel": "orderbooks",
        "sequence": None,
        "first_sequence": None,
    }
    other = "0190f3c2-2222-7aaa-8bbb-0123456789ab"
    export_records(settings, [
        structs.replace(SNAPSHOT, **bare, record_key="a/1/0"),
        structs.replace(change(1, bid=("99", "8")), **bare, record_key="a/2/0"),
        structs.replace(change(2, bid=("98", "8")), **bare, record_key="b/2/0", connection_id=other),
    ])  # fmt: skip
    found = Lake(settings).book("alpaca_crypto", "BTC-USDT", START + 9 * MS, incomplete="allow")
    assert found.bids["price"].to_list() == [Decimal(100), Decimal("99.5"), Decimal(99)]


def test_what_cannot_be_answered_is_refused(settings: Settings) -> None:
    export_records(settings, [*WHOLE, structs.replace(SNAPSHOT, channel="depth20", record_key="depth20/s/0")])
    lake = Lake(settings)
    options: dict[str, Any] = {"incomplete": "allow"}
    with pytest.raises(UsageError, match="several books, name one as channel: depth, depth20"):
        lake.book("binance", "BTC-USDT", START, **options)
    assert lake.book("binance", "BTC-USDT", START, channel="depth20", **options).channel == "depth20"
    with pytest.raises(
        UsageError, match="binance BTC-USDT depth20: no snapshot of a book up to 2024-08-08 23:54:15"
    ):
        lake.book("binance", "BTC-USDT", START - 1, channel="depth20", **options)
    with pytest.raises(UsageError, match="binance ETH-USDT: no snapshot"):
        lake.book("binance", "ETH-USDT", START, **options)
    with pytest.raises(UsageError, match="more than 1,000,000 instants"):
        lake.book_snapshots("binance", "BTC-USDT", START, START + stream.DAY, every="1ms", **options)
    none = lake.book_snapshots("binance", "ETH-USDT", START, START + 2 * MS, every="1ms", **options).collect()
    assert none["bid_prices"].to_list() == [[], []]
