from __future__ import annotations

import random
from operator import attrgetter

from msgspec import structs

from etl.lake.catalog import File
from etl.lake.index import Index

DAYS = ("2026-03-01", "2026-03-02", "2026-03-04")


def file(exchange: str, date: str, symbols: tuple[str, str], number: int = 0, table: str = "trades") -> File:
    made = File("", table, exchange, date, *symbols, 1, 1, 0, 0, 0, 0, 0, 0, 0)
    return structs.replace(made, path=f"tables/{table}/exchange={exchange}/date={date}/{number}.parquet")


ALL = [file("binance", day, ("BTC-USDT", "ETH-USDT")) for day in DAYS]
MORE = [
    file("binance", DAYS[0], ("SOL-USDT", "XRP-USDT"), 1),
    file("kraken", DAYS[1], ("BTC-USD", "BTC-USD")),
    file("kraken", DAYS[1], ("", ""), table="raw"),
]
INDEX = Index([*MORE, *ALL])


def test_files_are_found_by_table_exchange_and_dates() -> None:
    assert INDEX.find("trades", "binance", start=DAYS[1]) == ALL[1:]
    assert INDEX.find("trades", "binance", start=DAYS[1], end=DAYS[2]) == [ALL[1]]
    assert INDEX.find("trades", "binance", start="2026-03-03", end="2026-03-04") == []
    assert INDEX.find("raw", "kraken") == [MORE[2]]
    assert INDEX.find("quotes", "kraken") == []
    assert INDEX.exchanges("trades") == ["binance", "kraken"]
    assert [date for date, _ in INDEX.days("trades", "binance")] == list(DAYS)


def test_a_symbol_or_how_it_begins_leaves_out_files_that_cannot_have_it() -> None:
    assert INDEX.find("trades", "binance", "BTC-USDT") == ALL
    assert INDEX.find("trades", "binance", "DOGE-USDT") == ALL  # between the two, it may be there
    assert INDEX.find("trades", "binance", "SUI-USDT") == [MORE[0]]
    assert INDEX.find("trades", "binance", "SOL*") == [MORE[0]]
    assert INDEX.find("trades", "binance", "E*") == ALL
    assert INDEX.find("trades", "binance", "A*") == []
    assert INDEX.find("trades", "kraken", "BTC-USDT") == []


def test_of_several_symbols_a_file_is_found_once() -> None:
    assert INDEX.find("trades", "binance", ["BTC-USDT", "ETH-*", "SOL-USDT"], end=DAYS[1]) == [
        ALL[0],
        MORE[0],
    ]
    assert INDEX.find("trades", "binance", ["A*", "XRP-USDT"]) == [MORE[0]]


def test_files_that_lie_beside_and_within_each_other_are_found_as_by_looking_at_each() -> None:
    chance = random.Random(3)
    letters = "ABCDEFGH"
    files = [
        file("binance", DAYS[0], (first, chance.choice(letters[letters.index(first) :])), number)
        for number, first in enumerate(chance.choices(letters, k=40))
    ]
    index = Index(files)
    for asked in [*letters, *(f"{letter}*" for letter in letters), "*", "Cx", "Cx*", "Z"]:
        prefix = asked.removesuffix("*")
        top = f"{prefix}~" if asked != prefix else asked
        expected = [made for made in files if made.symbol_min <= top and prefix <= made.symbol_max]
        assert sorted(index.find("trades", "binance", asked), key=attrgetter("path")) == sorted(
            expected, key=attrgetter("path")
        )
