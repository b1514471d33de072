"""``etl bench validation``: the CPU that checking costs beyond parsing, per 10,000 clean records, all rules on.

``batch`` judges the typed columns that a writer needs anyway; ``cast`` is what making them from decimal text costs;
``record`` is what the workers do, one record at a time, where the express lane proves nothing; ``proof`` is what it
proves, where it is built, one record at a time too. Two thirds quotes, one third trades.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import typer

from etl import exchanges
from etl.adapter.contract import Exchange
from etl.bench.report import best_seconds, print_result, spread
from etl.express.encoders import encoders
from etl.express.step import Step, step
from etl.model.records import Kind, Quote, Record, Side, SizeUnit, Source, Trade
from etl.sequencing.continuity import Continuity
from etl.validation import Checker
from etl.validation.batch import Column, cast_decimals, check_batch, quote_view, trade_view
from etl.validation.specs import specs_for
from etl.validation.statistics import SymbolStatistics, band_of

app = typer.Typer()

ROWS = 10_000
START_NS = 1_723_161_255_342_000_000
SYMBOLS = tuple(f"COIN{number}-USDT" for number in range(50))
CLOSE = 60_000.0


@app.command()
def main(as_json: bool = typer.Option(False, "--json"), repeats: int = typer.Option(9, min=1)) -> None:
    trades, quotes = _trades(ROWS // 3), _quotes(ROWS - ROWS // 3)
    exchange = exchanges.load("binance")
    specs = specs_for(exchange)
    statistics = [SymbolStatistics("binance", name, CLOSE, 0.0, 0.02, 30, START_NS) for name in SYMBOLS]
    bands = [band_of(item, specs[Kind.TRADE]) for item in statistics]
    index = np.array([SYMBOLS.index(trade.symbol) for trade in trades])
    texts = [
        pa.array([getattr(record, name) for record in records])
        for records, names in ((trades, ("last_price", "volume")), (quotes, _QUOTE_NAMES))
        for name in names
    ]
    price, size, *sides = [cast_decimals(text) for text in texts]
    trade_columns = {**_times(trades), "price": price, "size": size}
    quote_columns = {**_times(quotes), **dict(zip(_QUOTE_NAMES, sides, strict=True))}

    def batch() -> None:
        found = check_batch(trade_view(trade_columns, specs[Kind.TRADE], 0, bands, index), specs[Kind.TRADE])
        found += check_batch(quote_view(quote_columns, specs[Kind.QUOTE], 0), specs[Kind.QUOTE])
        assert not found, found[:3]

    def cast() -> None:
        for text in texts:
            cast_decimals(text)

    def record() -> None:
        checker = Checker(exchange, statistics)
        for one in mixed:
            assert not checker.check(one)

    # in the order in which they were made: a worker has just made what it judges, and finds it in the cache
    mixed: list[Record] = [
        one for three in zip(trades, quotes[::2], quotes[1::2], strict=False) for one in three
    ]
    runs: dict[str, Callable[[], None]] = {"batch": batch, "record": record, "cast": cast}
    compiled = _step_of(exchange, statistics, mixed)
    if compiled is not None:
        from etl.express._step import proves

        def proof() -> None:
            for one in mixed:
                assert proves(compiled, one)

        runs["proof"] = proof
    figures = {
        name: [1e3 * seconds for seconds in best_seconds(run, time.process_time, repeats)]
        for name, run in runs.items()
    }
    result = {f"{name}_ms_per_10k": spread(values)["median"] for name, values in figures.items()}
    print_result(
        "validation",
        {**result, "runs": repeats, "spread": {name: spread(values) for name, values in figures.items()}},
        as_json,
    )


def _step_of(
    exchange: type[Exchange], statistics: Iterable[SymbolStatistics], records: Iterable[Record]
) -> Step | None:
    """A step that publishes nothing, with a checker that has seen ``records``; ``None`` where none is built."""
    checker = Checker(exchange, statistics)
    for one in records:
        checker.check(one)
    made, _ = encoders(True)
    return step(made, checker, Continuity(exchange), {}, {}, {}, [], "", lambda *_: None)


_QUOTE_NAMES = ("bid", "bid_size", "ask", "ask_size")


def _times(records: list[Trade] | list[Quote]) -> dict[str, Column]:
    return {
        "event_time_ns": np.array([record.event_time_ns for record in records]),
        "receive_time_ns": np.array([record.receive_time_ns for record in records]),
        "publish_time_ns": np.array([record.publish_time_ns for record in records]),
        "size_unit": np.full(len(records), int(SizeUnit.BASE)),
    }


def _trades(count: int) -> list[Trade]:
    chance = random.Random(2)
    return [
        Trade(
            **_head(row, chance.choice(SYMBOLS), "trade"),
            last_price=f"{CLOSE + chance.random() * 100:.2f}000000",
            volume=f"{chance.random() + 0.001:.8f}",
            side=Side.BUY,
            size_unit=SizeUnit.BASE,
        )
        for row in range(count)
    ]


def _quotes(count: int) -> list[Quote]:
    chance = random.Random(3)
    return [
        Quote(
            **_head(row, chance.choice(SYMBOLS), "bookTicker"),
            bid=f"{CLOSE + chance.random():.8f}",
            bid_size=f"{chance.random():.8f}",
            ask=f"{CLOSE + 1 + chance.random():.8f}",
            ask_size=f"{chance.random():.8f}",
            size_unit=SizeUnit.BASE,
        )
        for row in range(count)
    ]


def _head(row: int, symbol: str, channel: str) -> dict[str, Any]:
    time_ns = START_NS + 1_000_000 * row
    return {
        "exchange": "binance",
        "symbol": symbol,
        "venue_symbol": symbol.replace("-", ""),
        "channel": channel,
        "event_time_ns": time_ns,
        "receive_time_ns": time_ns,
        "publish_time_ns": time_ns + 1_000_000,
        "source": Source.STREAM,
        "connection_id": "bench",
        "frame_sequence": row,
        "frame_index": 0,
        "record_key": str(row),
        "key_time_ns": time_ns,
        "parser_version": 1,
    }
