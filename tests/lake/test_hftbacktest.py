"""``etl convert hftbacktest``: the array is the one that its documentation describes, and each order is true."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from etl.bench.peers import environment
from etl.commands.convert import Form, convert
from etl.errors import UsageError
from etl.lake import Lake
from etl.lake import hftbacktest as form
from tests.support.sample_lake import PLACE

# its types.py, as numbers
BOTH, EXCHANGE, LOCAL, BUY, SELL = 0xC000_0000, 0x8000_0000, 0x4000_0000, 0x2000_0000, 0x1000_0000
DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
PYTHON = environment.interpreter("hftbacktest")
LATENCY_NS = 3_000_000
"""Of all messages in the sample lake."""


def test_an_event_has_its_64_bytes() -> None:
    offsets = {name: (str(at[0]), at[1]) for name, at in (form.EVENT.fields or {}).items()}
    assert form.EVENT.itemsize == 64
    assert offsets == {
        "ev": ("uint64", 0), "exch_ts": ("int64", 8), "local_ts": ("int64", 16), "px": ("float64", 24),
        "qty": ("float64", 32), "order_id": ("uint64", 40), "ival": ("int64", 48), "fval": ("float64", 56),
    }  # fmt: skip


def test_trades_bear_the_takers_side() -> None:
    trades = pl.DataFrame(
        {
            "event_time_ns": [10, 0, 12],
            "receive_time_ns": [20, 21, 22],
            "sequence": [1, 2, 3],
            "side": ["buy", "none", "sell"],
            "last_price": ["1.5", "1.25", "2"],
            "volume": ["3", "4", "0.5"],
        }
    ).with_columns(pl.col("last_price", "volume").cast(pl.Decimal(38, 8)))
    assert form.of_trades(trades).rows() == [
        (TRADE | BUY, 10, 20, 1.5, 3.0),
        (TRADE, 21, 21, 1.25, 4.0),
        (TRADE | SELL, 12, 22, 2.0, 0.5),
    ]


def book(
    action: str, time_ns: int, bids: list[tuple[str, str]], asks: list[tuple[str, str]]
) -> dict[str, object]:
    levels = {"bid_prices": bids, "bid_sizes": bids, "ask_prices": asks, "ask_sizes": asks}
    columns = {name: [level[name.endswith("sizes")] for level in side] for name, side in levels.items()}
    return {"book_action": action, "event_time_ns": time_ns, "receive_time_ns": time_ns + 5, **columns}


def frame(*messages: dict[str, object]) -> pl.DataFrame:
    levels = dict.fromkeys(("bid_prices", "bid_sizes", "ask_prices", "ask_sizes"), pl.List(pl.String))
    schema: dict[str, Any] = {
        "book_action": pl.String,
        "event_time_ns": pl.Int64,
        "receive_time_ns": pl.Int64,
        **levels,
    }
    return pl.DataFrame(messages, schema=schema).with_columns(
        pl.col(levels.keys()).cast(pl.List(pl.Decimal(38, 8)))
    )


def test_a_snapshot_clears_as_far_as_it_reaches_and_a_change_is_a_row_a_level() -> None:
    messages = frame(
        book("snapshot", 10, [("9", "1"), ("8", "2")], [("11", "3")]),
        book("absolute", 20, [("8", "0")], []),
        book("snapshot", 30, [], [("12", "4")]),
    )
    assert form.of_book(messages).rows() == [
        (CLEAR | BUY, 10, 15, 8.0, 0.0), (SNAPSHOT | BUY, 10, 15, 9.0, 1.0), (SNAPSHOT | BUY, 10, 15, 8.0, 2.0),
        (CLEAR | SELL, 10, 15, 11.0, 0.0), (SNAPSHOT | SELL, 10, 15, 11.0, 3.0),
        (DEPTH | BUY, 20, 25, 8.0, 0.0),
        (CLEAR | SELL, 30, 35, 12.0, 0.0), (SNAPSHOT | SELL, 30, 35, 12.0, 4.0),
    ]  # fmt: skip


def test_sizes_that_are_changes_are_refused() -> None:
    with pytest.raises(UsageError, match="sends their changes"):
        form.of_book(frame(book("relative", 10, [("9", "1")], [])))


def made(*times: tuple[int, int]) -> form.Events:
    """Rows with these times of the venue and of ours, the number as price."""
    events = np.zeros(len(times), form.EVENT)
    events["ev"], events["px"] = TRADE, range(len(times))
    events["exch_ts"], events["local_ts"] = zip(*times, strict=True)
    return events


def told(events: form.Events) -> list[tuple[int, float]]:
    return [(int(one["ev"]) - TRADE, float(one["px"])) for one in events]


def test_what_nothing_overtook_is_one_event_and_the_others_stand_in_each_order() -> None:
    assert told(form.in_order(made((1, 11), (2, 12), (2, 12)))) == [(BOTH, 0), (BOTH, 1), (BOTH, 2)]
    assert told(form.in_order(made((1, 11), (2, 15), (3, 13), (4, 14), (5, 16)))) == [
        (BOTH, 0),
        *((EXCHANGE, 1), (EXCHANGE, 2), (EXCHANGE, 3)),
        *((LOCAL, 2), (LOCAL, 3), (LOCAL, 1)),
        (BOTH, 4),
    ]


def test_each_order_is_true_and_whole_whatever_came_when() -> None:
    draw = np.random.default_rng(7)
    exchange = np.sort(draw.integers(0, 200_000, 5_000))
    times = list(zip(exchange.tolist(), (exchange + draw.integers(1, 40, 5_000)).tolist(), strict=True))
    events = form.in_order(made(*times))
    for flag, name in ((EXCHANGE, "exch_ts"), (LOCAL, "local_ts")):
        seen = events[(events["ev"] & flag) != 0]
        assert sorted(seen["px"]) == list(range(5_000))
        assert (np.diff(seen[name]) >= 0).all()
    assert 5_000 < len(events) < 10_000


def test_a_clock_that_is_behind_the_venues_is_put_right() -> None:
    events = form.in_order(made((10, 8), (20, 21)))
    assert events["local_ts"].tolist() == [10, 23]


def test_a_file_has_the_lakes_trades_and_the_book_from_the_snapshot_before_them(tmp_path: Path) -> None:
    out = tmp_path / "btc"
    span = ("2024-08-08T23:55:00", "2024-08-08T23:56:00")
    convert(Form.HFTBACKTEST, out, "binance", "BTC-USDT", *span, lake=str(PLACE), channel="", book=True)
    events = np.load(out)["data"]
    assert events.dtype == form.EVENT
    kinds = events["ev"] & 0xFF
    assert events["ev"][0] == BOTH | CLEAR | BUY
    assert (kinds == SNAPSHOT).sum() == 20
    trades = pl.DataFrame({"time": events["local_ts"][kinds == TRADE], "price": events["px"][kinds == TRADE]})
    found = Lake(str(PLACE)).trades("binance", "BTC-USDT", *span).collect()
    assert trades["time"].to_list() == sorted(found["receive_time_ns"].to_list())
    assert sorted(trades["price"]) == sorted(map(float, found["last_price"]))
    convert(Form.HFTBACKTEST, out, "binance", "BTC-USDT", *span, lake=str(PLACE), channel="", book=False)
    assert set((np.load(out)["data"]["ev"] & 0xFF).tolist()) == {TRADE}


@pytest.mark.skipif(not PYTHON.exists(), reason="hftbacktest is not installed: make peer")
def test_hftbacktest_itself_sees_the_book_and_the_trades_of_the_lake(tmp_path: Path) -> None:
    out, span = tmp_path / "btc.npz", ("2024-08-08T23:52:00", "2024-08-08T23:55:00")
    convert(Form.HFTBACKTEST, out, "binance", "BTC-USDT", *span, lake=str(PLACE), channel="", book=True)
    script = Path(environment.__file__).with_name("hftbacktest_reader.py")
    done = subprocess.run([PYTHON, script, out], capture_output=True, text=True, timeout=60, check=True)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    lake = Lake(str(PLACE))
    assert len(told) > 170
    for time_ns, bid, ask, _ in told[::20]:
        book = lake.book("binance", "BTC-USDT", time_ns - LATENCY_NS, depth=1)
        assert (bid, ask) == (float(book.bids["price"][0]), float(book.asks["price"][0]))
    received = lake.trades("binance", "BTC-USDT", *span).collect()["receive_time_ns"]
    assert sum(count for *_, count in told) == (received <= told[-1][0]).sum()
