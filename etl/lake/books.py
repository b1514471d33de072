"""Order books out of the lake: one at an instant, or one at each of many, from the messages as they came.

Which messages count, and in which order, is decided by ``sequencing/join.Join``, as everywhere; ``book_levels`` does
the rest by arrays. A message counts at the venue's time, or at ours where it sent none. Each book begins with the last
snapshot before it; what may be missing since then is told by ``gap``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from msgspec import Struct

from etl.errors import UsageError
from etl.exchanges import channel_family
from etl.lake import gap_marks
from etl.lake.book_levels import ASKS, BIDS, Numbers, levels_after
from etl.lake.lookup import TIME_NS_MIN
from etl.lake.scan import TIME_NS, instant
from etl.model.records import Book, BookAction, Source
from etl.model.times import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, text_of
from etl.sequencing.join import Join

HELD_NS = 60 * NS_PER_S
"""A change that came so long before the snapshot may still continue it: a snapshot that is asked for is older than what
arrives meanwhile."""
LOOK_BACK_NS = (NS_PER_HOUR, NS_PER_DAY, 7 * NS_PER_DAY)
"""How far back a snapshot is looked for, step by step, before all that there is."""
MESSAGES_MAX = 2_000_000
INSTANTS_MAX = 1_000_000
LEVELS = ("bid_prices", "bid_sizes", "ask_prices", "ask_sizes")
COLUMNS = (
    "channel", TIME_NS, "event_time_ns", "receive_time_ns", "connection_id", "frame_sequence", "frame_index", "flags",
    "sequence", "first_sequence", "previous_sequence", "book_action", "depth", *LEVELS,
)  # fmt: skip
"""Of book_updates, as much as a book is made of."""
_ARRIVAL = ("receive_time_ns", "connection_id", "frame_sequence", "frame_index")


class BookAt(Struct, frozen=True):
    """The book of a symbol at ``time_ns``: ``bids`` and ``asks`` have ``price`` and ``size``, best first.
    ``update_time_ns`` and ``sequence`` are those of the last message in it; ``gap``: something may be missing."""

    exchange: str
    symbol: str
    channel: str
    time_ns: int
    update_time_ns: int
    sequence: int | None
    bids: pl.DataFrame
    asks: pl.DataFrame
    gap: bool


class Progress(Struct, frozen=True):
    """How a book went on, by arrays: at the beginning and after each message the time that it has reached, how many of
    ``applied`` are in it then, and what is known of that state."""

    applied: pl.DataFrame
    times_ns: Numbers
    counts: Numbers
    updates_ns: Numbers
    begins_ns: Numbers
    sequences: list[int | None]
    is_whole: np.ndarray[Any, np.dtype[np.bool_]]


class Begin(Struct, frozen=True):
    """Where a book begins: its channels, of one family, and the time of its last snapshot, None = there is none."""

    family: str
    channels: tuple[str, ...]
    time_ns: int | None


def begin_of(rows: pl.LazyFrame, exchange: str, at_ns: int, channel: str) -> Begin:
    """The book at ``at_ns``, looked for near it first. ``channel``, or its family, may be left out where there is one
    book. Raises ``UsageError`` where there are several."""
    found = Begin(channel and channel_family(exchange, channel), (), None)
    is_before = (pl.col("book_action") == "snapshot") & (pl.col(TIME_NS) <= at_ns)
    for reach_ns in (*LOOK_BACK_NS, None):
        near = rows if reach_ns is None else rows.filter(pl.col("time") >= instant(at_ns - reach_ns))
        last = near.group_by("channel").agg(pl.col(TIME_NS).filter(is_before).max()).sort("channel").collect()
        families: dict[str, dict[str, int | None]] = {}
        for name, time_ns in last.iter_rows():
            families.setdefault(channel_family(exchange, name), {})[name] = time_ns
        if len(families) > 1 and not channel:
            raise UsageError(f"{exchange}: several books, name one as channel: {', '.join(sorted(families))}")
        family = found.family or next(iter(families), "")
        times = families.get(family, {})
        found = Begin(
            family, tuple(times), max((at for at in times.values() if at is not None), default=None)
        )
        if found.time_ns is not None:
            break
    return found


def messages_of(rows: pl.LazyFrame, begin: Begin, start_ns: int) -> pl.DataFrame:
    """What makes the book from ``start_ns`` on. Raises ``UsageError`` for more than can be held."""
    since = (start_ns if begin.time_ns is None else begin.time_ns) - HELD_NS
    wanted = rows.filter(pl.col("channel").is_in(begin.channels), pl.col("time") >= instant(since))
    count = wanted.select(pl.len()).collect().item()
    if count > MESSAGES_MAX:
        raise UsageError(f"{count:,} messages of one book: more than {MESSAGES_MAX:,}, ask for less at once")
    return wanted.select(COLUMNS).collect()


def follow(messages: pl.DataFrame, begin_ns: int | None) -> Progress:
    """The book from the snapshot of ``begin_ns`` on, or the first one that there is."""
    ordered = messages.sort(_ARRIVAL, maintain_order=True)
    join = Join()
    owner = ""
    reached = update_ns = snapshot_ns = 0
    applied: list[int] = []
    states = [(TIME_NS_MIN, 0, 0, 0, False)]
    sequences: list[int | None] = [None]
    names = [name for name in COLUMNS if name not in LEVELS]
    for number, row in enumerate(ordered.select(names).iter_rows()):
        record = _record(number, *row)
        is_snapshot, time_ns = record.book_action is BookAction.SNAPSHOT, row[1]
        if is_snapshot and begin_ns is not None and time_ns < begin_ns:
            continue  # of no use, the one of begin_ns is newer
        if is_snapshot and record.sequence is None:
            owner = record.connection_id
        elif owner and record.connection_id != owner:
            continue  # where the venue counts nothing, only the snapshot's own connection continues it
        released = [one.key_time_ns for one in join.take(record)]
        if released:
            update_ns = ordered[TIME_NS][released[-1]]
            if is_snapshot:
                snapshot_ns = time_ns
        applied += released
        reached = max(reached, time_ns)
        is_whole = join.is_joined and not join.held_messages and not join.is_suspect
        states.append((reached, len(applied), update_ns, snapshot_ns, is_whole))
        sequences.append(join.sequence)
    *numbers, whole = zip(*states, strict=True)
    times, counts, updates, begins = (np.array(column, dtype=np.int64) for column in numbers)
    return Progress(ordered[applied], times, counts, updates, begins, sequences, np.array(whole))


def _record(number: int, *row: Any) -> Book:
    """As much of a message as decides whether it continues the book; ``key_time_ns`` is its row here."""
    (
        channel,
        _,
        event_ns,
        receive_ns,
        connection,
        frame,
        index,
        flags,
        last,
        first,
        previous,
        action,
        depth,
    ) = row
    return Book(
        *("", "", "", channel, event_ns, receive_ns, Source.STREAM, connection, frame, index, "", number, 0),
        last, first, previous, book_action=BookAction[action.upper()], depth=depth or 0, flags=tuple(flags or ()),
    )  # fmt: skip


def snapshots(
    exchange: str, symbol: str, progress: Progress, instants_ns: Numbers, levels_max: int, holes: pl.DataFrame
) -> pl.DataFrame:
    """The book at each of ``instants_ns``, ascending; before the first snapshot there is none."""
    place = np.searchsorted(progress.times_ns, instants_ns, side="right") - 1
    counts = progress.counts[place]
    sides = [levels_after(progress.applied, side, counts, levels_max) for side in (BIDS, ASKS)]

    def known(values: Any, kind: Any) -> pl.Series:
        found = [
            values[at] if count else None for at, count in zip(place.tolist(), counts.tolist(), strict=True)
        ]
        return pl.Series(found, dtype=kind)

    frame = pl.DataFrame(
        {
            "exchange": pl.repeat(exchange, len(place), eager=True),
            "symbol": pl.repeat(symbol, len(place), eager=True),
            "time": pl.Series(instants_ns // 1_000).cast(pl.Datetime("us", "UTC")),
            TIME_NS: instants_ns,
            "update_time_ns": known(progress.updates_ns.tolist(), pl.Int64),
            "sequence": known(progress.sequences, pl.Int64),
            "__since": known(progress.begins_ns.tolist(), pl.Int64),
            "__whole": known(progress.is_whole.tolist(), pl.Boolean).fill_null(False),
        }
    ).hstack([column for side in sides for column in side.select(side.columns).iter_columns()])
    return _with_gap(frame, holes)


def _with_gap(frame: pl.DataFrame, holes: pl.DataFrame) -> pl.DataFrame:
    """A crossed book is wrong from then on to its next snapshot."""
    bid, ask = pl.col("bid_prices").list.first(), pl.col("ask_prices").list.first()
    is_crossed = (bid >= ask).fill_null(False).cum_max().over("__since")
    marked = gap_marks.marked(frame.lazy(), holes, pl.col("__since"), pl.col(TIME_NS)).sort(TIME_NS)
    told = pl.col(gap_marks.GAP) | ~pl.col("__whole") | is_crossed
    return marked.with_columns(told.alias(gap_marks.GAP)).drop("__since", "__whole").collect()


def book_at(found: pl.DataFrame, channel: str) -> BookAt:
    """The only row of ``found`` as an object. Raises ``UsageError`` where no book has begun."""
    row = found.row(0, named=True)
    if row["update_time_ns"] is None:
        what = " ".join(filter(None, (row["exchange"], row["symbol"], channel)))
        raise UsageError(f"{what}: no snapshot of a book up to {text_of(row[TIME_NS])}")
    bids, asks = (
        found.select(pl.col(f"{side}_prices").alias("price"), pl.col(f"{side}_sizes").alias("size"))
        .explode("price", "size")
        .drop_nulls("price")
        for side in (BIDS, ASKS)
    )
    place = (row["exchange"], row["symbol"], channel, row[TIME_NS], row["update_time_ns"], row["sequence"])
    return BookAt(*place, bids, asks, row[gap_marks.GAP])
