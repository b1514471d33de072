"""The levels of an order book after so many of its messages, by arrays: what ``sequencing/book.OrderBook`` holds. Pure.

Prices become ranks, and the book one array: at each rank the row of the level that stands there, or none. The changes
between two instants are one assignment, of which the last of a price stays. Values themselves are never computed with,
so decimals are exact whatever their type; only sizes that venues tell as differences are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from etl.errors import UsageError

MESSAGES_PER_CHUNK = 50_000
"""Whose levels are held in memory at once; the book itself goes over from one chunk to the next."""
BIDS, ASKS = "bid", "ask"
NONE = -1
Numbers = np.ndarray[Any, np.dtype[np.int64]]


def levels_after(messages: pl.DataFrame, side: str, counts: Numbers, levels_max: int) -> pl.DataFrame:
    """For each of ``counts``, ascending: ``{side}_prices`` and ``{side}_sizes`` after so many of ``messages``, best
    first, at most ``levels_max`` (0 = all). The columns are those of book_updates."""
    prices, sizes = f"{side}_prices", f"{side}_sizes"
    book = (
        messages[:0]
        .select(pl.col(prices).alias("price"), pl.col(sizes).alias("size"))
        .explode("price", "size")
    )
    parts = []
    for first in range(0, max(1, len(messages)), MESSAGES_PER_CHUNK):
        chunk = messages.slice(first, MESSAGES_PER_CHUNK)
        here = counts[(counts > first if first else counts >= 0) & (counts <= first + len(chunk))] - first
        part, book = _Chunk(book, chunk, side).levels(here, levels_max)
        parts.append(part.rename({"price": prices, "size": sizes}))
    return pl.concat(parts)


class _Chunk:
    """Rows are levels in the order of their messages; those of message 0 are the book before the first."""

    def __init__(self, book: pl.DataFrame, messages: pl.DataFrame, side: str) -> None:
        levels = messages.select(
            pl.int_range(1, pl.len() + 1).alias("message"),
            pl.col(f"{side}_prices").alias("price"),
            pl.col(f"{side}_sizes").alias("size"),
            (pl.col("book_action") == "relative").alias("is_relative"),
        )
        before = book.select(
            pl.lit(0, pl.Int64).alias("message"), "price", "size", pl.lit(False).alias("is_relative")
        )
        rows = pl.concat([before, levels.explode("price", "size").drop_nulls("price")])
        self._is_bid = side == BIDS
        self._snapshots = (messages["book_action"] == "snapshot").arg_true().to_numpy().astype(np.int64) + 1
        self._depths = messages["depth"].fill_null(0).to_numpy()
        self._messages = rows["message"].to_numpy()
        self._ranks = rows["price"].rank("dense").cast(pl.Int64).to_numpy() - 1
        if rows["is_relative"].any():
            if self._depths.any():
                raise UsageError("differences of sizes in a book of a fixed depth: no venue tells such")
            rows = _added_up(rows, self._ranks, self._snapshots)
        self._rows = rows.select("price", "size")
        self._places = np.where((rows["size"] == 0).to_numpy(), NONE, np.arange(len(rows)))
        self._held = np.full(int(self._ranks.max(initial=-1)) + 1, NONE, dtype=np.int64)
        self._done = -1

    def levels(self, counts: Numbers, levels_max: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The levels after each of ``counts``, and all levels at the end."""
        wanted = set(counts.tolist())
        steps = range(len(self._depths) + 1) if self._depths.any() else sorted(wanted | {len(self._depths)})
        found: dict[int, Numbers] = {}
        for count in steps:
            self._apply(count)
            if count in wanted:
                found[count] = self._best(levels_max)
        taken = [found[count] for count in counts.tolist()]
        return _listed(self._rows, taken), self._rows[self._best(0)]

    def _apply(self, count: int) -> None:
        """The messages up to number ``count``; of those before the last snapshot nothing is left."""
        number = int(np.searchsorted(self._snapshots, count, side="right")) - 1
        begin = self._done + 1
        if number >= 0 and self._snapshots[number] >= begin:
            begin = int(self._snapshots[number])
            self._held.fill(NONE)
        first, last = np.searchsorted(self._messages, (begin, count + 1))
        self._held[self._ranks[first:last]] = self._places[first:last]
        self._done = count
        depth = int(self._depths[count - 1]) if count else 0
        if depth:  # what falls out of such a book does not come back when a better level goes
            there = np.flatnonzero(self._held != NONE)
            self._held[there[:-depth] if self._is_bid else there[depth:]] = NONE

    def _best(self, levels_max: int) -> Numbers:
        """Rows, best price first."""
        there = np.flatnonzero(self._held != NONE)
        best = self._held[there[::-1] if self._is_bid else there]
        return best[:levels_max] if levels_max else best


def _added_up(rows: pl.DataFrame, ranks: Numbers, snapshots: Numbers) -> pl.DataFrame:
    """Differences of sizes as sizes: each adds to its price's last size since the snapshot, exactly."""
    epoch = np.searchsorted(snapshots, rows["message"].to_numpy(), side="right")
    stream = ["rank", "epoch"]
    numbered = rows.with_columns(pl.Series("rank", ranks), pl.Series("epoch", epoch)).with_columns(
        (~pl.col("is_relative")).cum_sum().over(stream).alias("whole")
    )
    return numbered.with_columns(pl.col("size").cum_sum().over([*stream, "whole"])).select(rows.columns)


def _listed(rows: pl.DataFrame, taken: Sequence[Numbers]) -> pl.DataFrame:
    """Lists of the values of these rows."""
    which = np.concatenate([*taken, np.empty(0, dtype=np.int64)])
    owner = np.repeat(np.arange(len(taken)), [len(some) for some in taken])
    values = rows[which].with_columns(pl.Series("owner", owner, dtype=pl.Int64))
    listed = values.group_by("owner", maintain_order=True).agg("price", "size")
    every = pl.DataFrame({"owner": pl.int_range(len(taken), eager=True, dtype=pl.Int64)})
    empty = [pl.col(name).fill_null(pl.lit([], pl.List(rows.schema[name]))) for name in ("price", "size")]
    return every.join(listed, on="owner", how="left", maintain_order="left").select(empty)
