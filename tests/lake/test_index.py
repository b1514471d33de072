from __future__ import annotations

import random
from operator import attrgetter

from msgspec import structs

from etl.lake.catalog import TIME_NS_MAX, File
from etl.lake.index import Index
from etl.lake.lookup import TIME_NS_MIN, Lookup, bounds_of
from etl.model.times import NS_PER_DAY, as_ns

DAYS = ("2026-03-01", "2026-03-02", "2026-03-04")


def file(exchange: str, date: str, symbols: tuple[str, str], number: int = 0, table: str = "trades") -> File:
    start_ns = as_ns(date)
    made = File("", table, exchange, date, *symbols, 1, 1, start_ns, start_ns + NS_PER_DAY - 1, 0, 0, 0, 0, 0)
    return structs.replace(made, path=f"tables/{table}/exchange={exchange}/date={date}/{number}.parquet")


def find(
    index: Index, table: str, exchange: str, symbols: str | list[str] = "*", start: str = "", end: str = ""
) -> list[File]:
    bounds = bounds_of([symbols] if isinstance(symbols, str) else symbols)
    start_ns, end_ns = as_ns(start) if start else TIME_NS_MIN, as_ns(end) if end else TIME_NS_MAX
    return index.find(table, exchange, bounds, start_ns, end_ns)


ALL = [file("binance", day, ("BTC-USDT", "ETH-USDT")) for day in DAYS]
MORE = [
    file("binance", DAYS[0], ("SOL-USDT", "XRP-USDT"), 1),
    file("kraken", DAYS[1], ("BTC-USD", "BTC-USD")),
    file("kraken", DAYS[1], ("", ""), table="raw"),
]
INDEX = Index([*MORE, *ALL])


def test_files_are_found_by_table_exchange_and_dates() -> None:
    assert find(INDEX, "trades", "binance", start=DAYS[1]) == ALL[1:]
    assert find(INDEX, "trades", "binance", start=DAYS[1], end=DAYS[2]) == [ALL[1]]
    assert find(INDEX, "trades", "binance", start="2026-03-03", end="2026-03-04") == []
    assert find(INDEX, "raw", "kraken") == [MORE[2]]
    assert find(INDEX, "quotes", "kraken") == []
    assert INDEX.exchanges("trades") == ["binance", "kraken"]
    assert [date for date, _ in INDEX.days("trades", "binance")] == list(DAYS)


def test_a_symbol_or_how_it_begins_leaves_out_files_that_cannot_have_it() -> None:
    assert find(INDEX, "trades", "binance", "BTC-USDT") == ALL
    assert find(INDEX, "trades", "binance", "DOGE-USDT") == ALL  # between the two, it may be there
    assert find(INDEX, "trades", "binance", "SUI-USDT") == [MORE[0]]
    assert find(INDEX, "trades", "binance", "SOL*") == [MORE[0]]
    assert find(INDEX, "trades", "binance", "E*") == ALL
    assert find(INDEX, "trades", "binance", "A*") == []
    assert find(INDEX, "trades", "kraken", "BTC-USDT") == []


def test_of_several_symbols_a_file_is_found_once() -> None:
    assert find(INDEX, "trades", "binance", ["BTC-USDT", "ETH-*", "SOL-USDT"], end=DAYS[1]) == [
        ALL[0],
        MORE[0],
    ]
    assert find(INDEX, "trades", "binance", ["A*", "XRP-USDT"]) == [MORE[0]]


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
        assert sorted(find(index, "trades", "binance", asked), key=attrgetter("path")) == sorted(
            expected, key=attrgetter("path")
        )


def chosen(chance: random.Random, number: int) -> File:
    """Of a few days and exchanges, its symbols and times here and there within them."""
    day, letters = chance.randrange(3), "ABCDEFGH"
    first = chance.choice(letters)
    made = file(chance.choice(["binance", "kraken"]), f"1970-01-{day + 2:02d}", (first, first), number)
    begin = (day + 1) * NS_PER_DAY + chance.randrange(100)
    key = begin - chance.randrange(60)
    return structs.replace(
        made, symbol_max=chance.choice(letters[letters.index(first) :]), time_ns_min=begin,
        time_ns_max=begin + chance.randrange(60), key_time_ns_min=key, key_time_ns_max=key + chance.randrange(60),
    )  # fmt: skip


def test_what_commits_change_is_found_as_by_looking_at_each_file() -> None:
    chance = random.Random(5)
    files = [chosen(chance, number) for number in range(90)]
    lookup = Lookup("trades", files)
    for number in range(90, 130, 10):
        removed = chance.sample(files, 15)
        added = [chosen(chance, number + n) for n in range(10)] + [structs.replace(removed[0], rows=number)]
        gone = {one.path for one in removed}
        files = [one for one in files if one.path not in gone] + added
        before, lookup = lookup, lookup.changed(added, removed)
        assert {one.path for one in before.files} != {one.path for one in lookup.files}
        assert lookup.exchanges() == ["binance", "kraken"]
        for symbols in (["*"], ["C"], ["D*"], ["A", "F*"], ["Z"]):
            start = NS_PER_DAY * chance.randrange(1, 4) + chance.randrange(100)
            end = start + chance.choice([1, 60, NS_PER_DAY, 2 * NS_PER_DAY])
            bounds = bounds_of(symbols)
            held = [
                one for one in files
                if one.exchange == "kraken"
                and any(one.symbol_min <= last and first <= one.symbol_max for first, last in bounds)
            ]  # fmt: skip
            expected = [one for one in held if one.time_ns_min < end and start <= one.time_ns_max]
            found = lookup.find("kraken", symbols, start, end)
            assert sorted(found, key=attrgetter("path")) == sorted(expected, key=attrgetter("path"))
            if found:
                first = min(one.key_time_ns_min for one in found)
                last = max(one.key_time_ns_max for one in found)
                others = [
                    one for one in held
                    if one not in found and one.key_time_ns_min <= last and first <= one.key_time_ns_max
                ]  # fmt: skip
                beside = lookup.beside("kraken", symbols, found)
                assert sorted(beside, key=attrgetter("path")) == sorted(others, key=attrgetter("path"))
    emptied = lookup.changed((), [one for one in files if one.exchange == "kraken"])
    assert emptied.exchanges() == ["binance"]
    assert emptied.find("kraken", ["*"], 0, 4 * NS_PER_DAY) == []
