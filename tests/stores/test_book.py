"""The book at an instant, from both stores that hold books."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from etl import settings as settings_module
from etl.adapter.contract import Credentials, Exchange, Reply, Subscription
from etl.adapter.paging import query_of
from etl.errors import UsageError
from etl.exchanges import load
from etl.lake import Lake
from etl.lake.books import begin_of, follow, messages_of, snapshots
from etl.lake.gap_marks import holes
from etl.model.records import Book, BookAction, Frame, GapKind, GapState, Kind, Record
from etl.model.times import NS_PER_MS, NS_PER_S, NS_PER_US
from etl.settings import Settings
from etl.simulator.market import Listing, Snapshot, decimal_text
from etl.simulator.venues import make_venue
from etl.simulator.venues import names as simulated_names
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.stores.book import BookAt, book_at
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse
from etl.stores.query import plain
from etl.wire.codec import encode
from tests.support import lake, stream
from tests.support.serving import WITHIN_S, Client, payload_of, simulator

AT_NS = stream.START_NS + 100 * stream.MS
FRAMES, FRAMES_MAX = 300, 3_000
INSTANTS = 7
ASKED = "0190f3c2-3333-7aaa-8bbb-0123456789ab"
"""The connection id of what is asked for."""

BIDS: dict[str, Any] = {"bid_prices": ("100", "99.5"), "bid_sizes": ("1", "2")}
ASKS: dict[str, Any] = {"ask_prices": ("100.5", "101"), "ask_sizes": ("3", "4")}
SNAPSHOT = stream.book(
    0, book_action=BookAction.SNAPSHOT, record_key="depth/s/0", first_sequence=None, **BIDS, **ASKS
)


def change(
    number: int, bid: tuple[str, str] | None = None, ask: tuple[str, str] | None = None, **values: Any
) -> Book:
    """Update ``number``, which follows the one before it."""
    bid_price, bid_size = ((bid[0],), (bid[1],)) if bid else ((), ())
    ask_price, ask_size = ((ask[0],), (ask[1],)) if ask else ((), ())
    prices: dict[str, Any] = {
        "bid_prices": bid_price,
        "bid_sizes": bid_size,
        "ask_prices": ask_price,
        "ask_sizes": ask_size,
    }
    return stream.book(number, first_sequence=number, **(prices | values))


WHOLE: Sequence[Record] = (
    change(0, bid=("99.5", "7")),  # it came before the snapshot, which holds it
    SNAPSHOT,
    change(1, bid=("100", "0")),
    change(2, ask=("100.5", "0.25")),
    change(3, bid=("99.75", "5"), ask=("101", "0")),
)


def put_into(store: str, settings: Settings, records: Sequence[Record]) -> None:
    if store == "lake":
        lake.export_records(settings, records)
        return
    migrate_clickhouse(settings)
    with connect(settings, internal=True) as client:
        client.insert(
            batch_path(MARKET_DATA, "token", 1_000), delimited([encode(record) for record in records])
        )


@pytest.fixture(params=["lake", pytest.param("clickhouse", marks=pytest.mark.integration)])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def of_store(store: str, settings_with: Callable[..., Settings]) -> Settings:
    return settings_with(clickhouse=store == "clickhouse")


def test_it_is_the_snapshot_and_the_changes_up_to_the_instant(store: str, of_store: Settings) -> None:
    put_into(store, of_store, WHOLE)

    def at(number: int) -> BookAt:
        return book_at(of_store, store, "binance", "BTC-USDT", stream.START_NS + number * stream.MS)

    assert (at(0).bids, at(0).asks) == ([("100", "1"), ("99.5", "2")], [("100.5", "3"), ("101", "4")])
    assert (at(1).bids, at(1).asks) == ([("99.5", "2")], [("100.5", "3"), ("101", "4")])
    assert (at(2).bids, at(2).asks) == ([("99.5", "2")], [("100.5", "0.25"), ("101", "4")])
    last = at(100)
    assert last == BookAt(
        "binance", "BTC-USDT", "depth", AT_NS, stream.START_NS + 3 * stream.MS, 3,
        [("99.75", "5"), ("99.5", "2")], [("100.5", "0.25")], [],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("later", "told"), [(2, "2 later changes do not continue 1"), (40, "4 does not continue 1")]
)
def test_a_change_that_is_missing_and_a_gap_that_is_declared_are_doubts(
    store: str, of_store: Settings, later: int, told: str
) -> None:
    gap = stream.gap(
        4, gap_kind=GapKind.DISCONNECT, gap_state=GapState.UNREPAIRABLE, channel="depth@100ms",
        reason="connection lost",
        from_time_ns=stream.START_NS + 2 * stream.MS, to_time_ns=stream.START_NS + 3 * stream.MS,
        from_sequence=None, to_sequence=None,
    )  # fmt: skip
    put_into(store, of_store, [*WHOLE[:3], *[change(number) for number in range(4, 4 + later)], gap])
    found = book_at(of_store, store, "binance", "BTC-USDT", AT_NS)
    assert [("disconnect" in doubt, told in doubt) for doubt in found.doubts] == [
        (True, False),
        (False, True),
    ]
    before = book_at(of_store, store, "binance", "BTC-USDT", stream.START_NS + stream.MS)
    assert before.doubts == []


def test_without_ids_only_the_connection_of_the_snapshot_continues_it(store: str, of_store: Settings) -> None:
    bare = {"exchange": "alpaca_crypto", "channel": "orderbooks", "sequence": None, "first_sequence": None}
    other = "0190f3c2-2222-7aaa-8bbb-0123456789ab"
    records = [
        structs.replace(SNAPSHOT, **bare, record_key="a/1/0"),
        structs.replace(change(1, bid=("99", "8")), **bare, record_key="a/2/0"),
        structs.replace(change(2, bid=("98", "8")), **bare, record_key="b/2/0", connection_id=other),
    ]
    put_into(store, of_store, records)
    found = book_at(of_store, store, "alpaca_crypto", "BTC-USDT", AT_NS)
    assert found.bids == [("100", "1"), ("99.5", "2"), ("99", "8")]


def test_what_cannot_be_answered_is_one_line(store: str, of_store: Settings) -> None:
    put_into(
        store, of_store, [*WHOLE, structs.replace(SNAPSHOT, channel="depth20", record_key="depth20/s/0")]
    )
    with pytest.raises(UsageError, match="several books, name one: depth, depth20"):
        book_at(of_store, store, "binance", "BTC-USDT", AT_NS)
    found = book_at(of_store, store, "binance", "BTC-USDT", AT_NS, channel="depth20")
    assert found.bids == [("100", "1"), ("99.5", "2")]
    with pytest.raises(UsageError, match="no snapshot of a book up to 2024-08-08"):
        book_at(of_store, store, "binance", "BTC-USDT", stream.START_NS - 1, channel="depth20")
    with pytest.raises(UsageError, match="no snapshot"):
        book_at(of_store, store, "binance", "O'HARE' OR 1=1", AT_NS)


def test_timescale_has_no_books_and_strange_names_are_refused(settings: Settings) -> None:
    with pytest.raises(UsageError, match="books are in clickhouse and lake"):
        book_at(settings, "timescale", "binance", "BTC-USDT", AT_NS)
    with pytest.raises(UsageError, match="no name of"):
        book_at(settings, "lake", "binance", "BTC\\", AT_NS)


def test_the_command_prints_both_sides_or_an_object(settings: Settings) -> None:
    lake.export_records(settings, WHOLE)

    def etl_book(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "etl", "book", "binance", "BTC-USDT", "--store", "lake", *words],
            env={"PATH": "/usr/bin:/bin", **settings_module.as_environment(settings)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    shown = etl_book("--at", str(AT_NS), "--levels", "1")
    assert shown.stdout.splitlines() == [
        "binance BTC-USDT depth, as of 2024-08-08 23:54:15 UTC, update 3",
        f"{'5':>20} {'99.75':>16}   {'100.5':<16} 0.25",
    ]
    told = json.loads(etl_book("--at", "2024-08-09", "--json").stdout)
    assert (told["bids"], told["sequence"], told["doubts"]) == ([["99.75", "5"], ["99.5", "2"]], 3, [])
    refused = etl_book("--at", "yesterday")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


# every venue: the simulated one's own book


def book_feeds() -> list[str]:
    """The feeds that have a book and a simulated venue, the sisters of a venue file but once."""
    files: dict[str, str] = {}
    for name in simulated_names():
        if _book_channels(load(name)):
            files.setdefault(load(name).__module__, name)
    return sorted(files.values())


def _book_channels(exchange: type[Exchange]) -> list[str]:
    sent = make_venue(exchange.name).channels
    return [
        one.name for one in exchange.channels if one.kind is Kind.BOOK and {one.name, one.family} & set(sent)
    ]


@pytest.mark.parametrize("name", book_feeds())
def test_it_equals_the_book_of_the_simulated_venue(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    true_books: list[Snapshot] = []
    drawn = Listing.change

    def noted(listing: Listing, time_ns: int) -> object:
        event = drawn(listing, time_ns)
        true_books.append(listing.snapshot(time_ns))
        return event

    monkeypatch.setattr(Listing, "change", noted)
    venue = make_venue(name)
    symbol = next(iter(venue.symbols))
    for channel in _book_channels(load(name))[:1]:
        records = asyncio.run(_listen(tmp_path, name, Subscription((symbol,), (channel,))))
        lake.export_records(settings, records)
        unit_ns = _unit_ns([one.event_time_ns for one in records])
        end_ns = records[-1].event_time_ns  # the end of what was heard may lie within a change
        since = _since_snapshot(records)
        changes = [one for one in since if 0 < one.event_time_ns != end_ns and one.channel == channel]
        books: list[BookAt] = []
        for record in changes[len(changes) // 2 :: max(1, len(changes) // 2 // INSTANTS)]:
            until_ns = record.event_time_ns + unit_ns
            place = bisect_left(true_books, until_ns, key=lambda one: one.time_ns)
            digits = venue.symbols[symbol].price_digits, venue.symbols[symbol].size_digits
            found = book_at(settings, "lake", name, record.symbol, record.event_time_ns, channel)
            true = true_books[place - 1]
            depth = getattr(record, "depth", 0) or None
            assert found.doubts == []
            assert found.bids == _levels(true.bids[:depth], *digits)
            assert found.asks == _levels(true.asks[:depth], *digits)
            books.append(found)
        assert _out_of_the_lake(settings, books, channel) == [(it.bids, it.asks, it.sequence) for it in books]


def _out_of_the_lake(settings: Settings, books: Sequence[BookAt], channel: str) -> list[Any]:
    """The same books by ``Lake``, all of them in one go, and the last by itself."""
    first, last = books[0], books[-1]
    made = Lake(settings)
    rows = made.l2(first.exchange, first.symbol, end=last.at_ns + 1, incomplete="allow").rows
    begin = begin_of(rows, first.exchange, first.at_ns, channel)
    progress = follow(messages_of(rows, begin, first.at_ns), begin.time_ns)
    at_ns = np.array([book.at_ns for book in books])
    no_gaps = holes(made.gaps().rows.collect(), Kind.BOOK)
    found = snapshots(first.exchange, first.symbol, progress, at_ns, 0, no_gaps)
    assert found["gap"].to_list() == [False] * len(books)
    alone = made.book(first.exchange, first.symbol, last.at_ns, channel=channel, incomplete="allow")
    names = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
    by_row = [
        (_shown(bids, bid_sizes), _shown(asks, ask_sizes), sequence)
        for bids, bid_sizes, asks, ask_sizes, sequence in found.select(*names, "sequence").iter_rows()
    ]
    assert (_shown(*alone.bids), _shown(*alone.asks), alone.sequence) == by_row[-1]
    return by_row


def _shown(prices: Iterable[Decimal], sizes: Iterable[Decimal]) -> list[tuple[str, str]]:
    return [(plain(price), plain(size)) for price, size in zip(prices, sizes, strict=True)]


def _unit_ns(times_ns: Sequence[int]) -> int:
    """In which the venue tells times."""
    return next(
        unit for unit in (NS_PER_S, NS_PER_MS, NS_PER_US, 1) if all(time % unit == 0 for time in times_ns)
    )


def _levels(pairs: Sequence[tuple[int, int]], price_digits: int, size_digits: int) -> list[tuple[str, str]]:
    return [
        (plain(Decimal(decimal_text(price, price_digits))), plain(Decimal(decimal_text(lots, size_digits))))
        for price, lots in pairs
    ]


async def _listen(state_path: Path, name: str, subscription: Subscription) -> list[Book]:
    """What the parser of one connection makes of the stream, and of the snapshot that it asks for in its midst."""
    parser, books = load(name)(Credentials("a-key", "a-secret")), list[Book]()
    (subscription,) = parser.sockets(subscription)
    async with simulator(state_path, name) as client:
        url = await client.stream_url(parser, subscription)
        async with client.http.ws_connect(url, headers=parser.handshake_headers(1)) as socket:
            for text in parser.open(subscription, 1):
                await socket.send_str(text)
            for number in range(1, FRAMES_MAX):
                message = await socket.receive(timeout=WITHIN_S)
                if (payload := payload_of(message)) is None:
                    break
                frame = Frame(name, stream.CONNECTION, number, url, time.time_ns(), payload)
                for outcome in parser.parse(frame):
                    if isinstance(outcome, Book):
                        books.append(outcome)
                    elif isinstance(outcome, Reply):
                        await socket.send_str(str(outcome.payload))
                if number == FRAMES // 10 and Kind.BOOK in parser.history:
                    books += await _asked(client, parser, subscription)
                if number >= FRAMES and len(_since_snapshot(books)) > 2 * INSTANTS:
                    break
    return books


def _since_snapshot(books: Sequence[Book]) -> list[Book]:
    """By time: on a slow machine the snapshot may be younger than hundreds of changes that were still on their way."""
    first = next((one for one in books if one.book_action is BookAction.SNAPSHOT), None)
    begin_ns = (first.event_time_ns or first.receive_time_ns) if first else 0
    return [one for one in books if first and (one.event_time_ns or one.receive_time_ns) > begin_ns]


async def _asked(client: Client, parser: Exchange, subscription: Subscription) -> list[Book]:
    found: list[Book] = []
    channel = subscription.channels[0]
    for request in parser.history_requests(Kind.BOOK, subscription.symbols[0], 0, 0, None, channel):
        assert query_of(request.path)
        url = f"http://{client.address}/{parser.name}{request.path}"
        frame = Frame(parser.name, ASKED, 1, url, time.time_ns(), await client.answer(parser.name, request))
        found += [outcome for outcome in parser.parse(frame) if isinstance(outcome, Book)]
    return found
