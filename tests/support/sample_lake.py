"""The lake of docs/notebooks: ten minutes of two venues, drawn from a seed.

``python -m tests.support.sample_lake`` makes it anew."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from etl.lake.derived import derive
from etl.model.records import BookAction, GapKind, GapState, Record
from etl.settings import Settings, make
from tests.support import stream
from tests.support.lake import complete_until, export_records

PLACE = Path(__file__).parents[2] / "docs" / "notebooks" / "sample_lake"
MS, SECOND = stream.MS, 1_000 * stream.MS
START = stream.START_NS // (600 * SECOND) * 600 * SECOND
SECONDS = 600
HOLE = (240, 300)
"""Seconds in which the connection to Kraken was lost."""


def records() -> Iterator[Record]:
    draw = random.Random(7)
    cents = 6_183_700
    for second in range(SECONDS):
        at = START + second * SECOND
        cents += draw.randrange(-300, 301)
        for exchange, shift in (("binance", 0), ("kraken", draw.randrange(-150, 400))):
            if exchange == "kraken" and HOLE[0] < second < HOLE[1]:
                continue
            yield from _second(draw, exchange, second, at, cents + shift)
        yield from _book(draw, second, at, cents)
    yield stream.gap(
        0, "kraken", venue_symbol="BTC/USDT", gap_kind=GapKind.DISCONNECT, gap_state=GapState.UNREPAIRABLE,
        event_time_ns=START + HOLE[0] * SECOND, receive_time_ns=START + HOLE[1] * SECOND, record_key="trade/lost",
        key_time_ns=START, from_time_ns=START + HOLE[0] * SECOND, to_time_ns=START + HOLE[1] * SECOND,
        from_sequence=None, to_sequence=None, reason="connection lost",
    )  # fmt: skip


def _second(draw: random.Random, exchange: str, second: int, at: int, cents: int) -> Iterator[Record]:
    def price(cents: int) -> str:
        return f"{cents // 100}.{cents % 100:02d}"

    ours = {"exchange": exchange, "symbol": "BTC-USDT"}
    yield stream.quote(
        second, event_time_ns=at, receive_time_ns=at + 3 * MS, key_time_ns=at, record_key=f"q/{second}", **ours,
        bid=price(cents - 50), ask=price(cents + 50), bid_size="1.5", ask_size=f"{draw.randrange(1, 40)}.25",
    )  # fmt: skip
    for number in range(draw.randrange(3)):
        time_ns = at + draw.randrange(1_000) * MS
        yield stream.trade(
            second * 10 + number, time_ns=time_ns, last_price=price(cents + draw.choice((-50, 50))), **ours,
            receive_time_ns=time_ns + 3 * MS, key_time_ns=time_ns, volume=f"0.{draw.randrange(1, 5_000):05d}",
        )  # fmt: skip


def _book(draw: random.Random, second: int, at: int, cents: int) -> Iterator[Record]:
    """Of Binance: a snapshot at first, then changes of a few levels."""
    middle = cents // 100
    steps = range(1, 11) if second == 0 else sorted(draw.sample(range(1, 11), 3))
    bids, asks = [f"{middle - step}" for step in steps], [f"{middle + step}" for step in steps]
    gone = range(middle - 20, middle + 21) if second else ()  # the price moved over them
    yield stream.book(
        second, event_time_ns=at, receive_time_ns=at + 3 * MS, key_time_ns=at, first_sequence=second,
        book_action=BookAction.ABSOLUTE if second else BookAction.SNAPSHOT, record_key=f"depth@100ms/d/{second:06d}",
        bid_prices=(*(str(price) for price in gone if price >= middle), *bids),
        bid_sizes=(*("0" for price in gone if price >= middle), *(f"{draw.randrange(1, 9)}" for _ in bids)),
        ask_prices=(*(str(price) for price in gone if price <= middle), *asks),
        ask_sizes=(*("0" for price in gone if price <= middle), *(f"{draw.randrange(1, 9)}" for _ in asks)),
    )  # fmt: skip


def write(settings: Settings) -> None:
    made = list(records())
    half = len(made) // 2
    export_records(settings, made[:half])
    export_records(settings, made[half:], half)
    derive(settings)
    complete_until(settings, START + SECONDS * SECOND)


if __name__ == "__main__":
    shutil.rmtree(PLACE, ignore_errors=True)
    write(make(lake_url=str(PLACE)))
