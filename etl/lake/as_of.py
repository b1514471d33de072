"""``asof``: each row of one table with what another knew at its time. Pure.

Polars finds the matches, by row number; values, sources and ages are gathered after.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import polars as pl
from msgspec import Struct

from etl.errors import UsageError
from etl.lake import gap_marks
from etl.lake.catalog import TIME_NS_MAX
from etl.lake.estimate import Scan
from etl.lake.lookup import TIME_NS_MIN
from etl.lake.result import Result
from etl.lake.scan import TIME_NS
from etl.model.times import Duration, duration_ns

Rows = Result | pl.LazyFrame | pl.DataFrame
Direction = Literal["backward", "forward", "nearest"]
SOURCE, AGE = "_source", "_age_ns"
UNASKED = frozenset((
    "exchange", "symbol", "venue_symbol", "channel", "time", TIME_NS, "date", "event_time_ns", "receive_time_ns",
    "publish_time_ns", "participant_time_ns", "key_time_ns", "source", "connection_id", "frame_sequence", "frame_index",
    "record_key", "parser_version", "sequence", "first_sequence", "previous_sequence", "flags", "wide_decimals", "gap",
    "size_unit", "conditions", "indicators", "tape", "market_center", "trf_id",
))  # fmt: skip
"""Columns that are joined only where they are named."""
_AT, _ROW, _MATCH = "__at", "__row", "__match"


def asof(
    left: Rows,
    right: Rows,
    *,
    by: str | Sequence[str] = "symbol",
    tolerance: Duration | None = None,
    direction: Direction = "backward",
    columns: Sequence[str] | None = None,
    prefix: str = "",
    on: str = TIME_NS,
    allow_exact_matches: bool = True,
    skip_nulls: bool = False,
) -> Result:
    """The rows of ``left``, each with ``columns`` of the last row of ``right`` at or before its time.

    ``by``: columns that must be equal, () = none. ``direction``: ``forward`` takes the first at or after,
    ``nearest`` the closer of both, the earlier of equals. ``tolerance``: no older than that. ``columns``: None = the
    values alone (not ``UNASKED``); ``prefix`` comes before their names. ``on``: the clock, in ns; by
    ``receive_time_ns`` it is what one could know then. ``skip_nulls``: for each column by itself the last row that
    has a value (for ``stats``, which come in parts).

    Beside each column stand ``{column}_source``, the exchange it is of, and ``{column}_age_ns``, how much older
    than the row it is (below 0 for later ones); all three are null where nothing matches. If ``right`` was read
    ``with_gaps``, ``{prefix}gap`` tells whether a declared gap lies between the two. Raises ``UsageError``.
    """
    keys = (by,) if isinstance(by, str) else tuple(by)
    how = _How(
        keys, on, direction, None if tolerance is None else duration_ns(tolerance), allow_exact_matches
    )
    rows = _lazy(left).collect()
    known = _lazy(right).collect_schema().names()
    names = [name for name in known if name not in UNASKED] if columns is None else list(columns)
    holes = right.holes if isinstance(right, Result) else None
    _require(rows.columns, known, how, names, prefix, holes is not None)
    place = [name for name in gap_marks.STREAM if name in known]
    values = _lazy(right).select(list(dict.fromkeys((*keys, on, *place, *names)))).collect()
    added: list[pl.Series] = []
    matches: pl.Series | None = None
    for name in names:
        some = values.drop_nulls(name) if skip_nulls else values
        if matches is None or skip_nulls:
            matches = _matches(rows, some, how)
        added += _column(rows, some, name, matches, on, prefix)
    if holes is not None and matches is not None:
        whole = _matches(rows, values, how) if skip_nulls else matches
        added.append(_gap(rows, values, whole, holes, on).alias(f"{prefix}{gap_marks.GAP}"))
    return _result(left, right, rows.hstack(added))


class _How(Struct, frozen=True):
    keys: tuple[str, ...]
    on: str
    direction: Direction
    tolerance_ns: int | None
    allow_exact_matches: bool


def _lazy(rows: Rows) -> pl.LazyFrame:
    if isinstance(rows, Result):
        return rows.lazy()
    return rows.lazy() if isinstance(rows, pl.DataFrame) else rows


def _require(
    left: Sequence[str], right: Sequence[str], how: _How, names: Sequence[str], prefix: str, has_gaps: bool
) -> None:
    for side, there, wanted in (("left", left, ()), ("right", right, names)):
        if missing := [name for name in (*how.keys, how.on, *wanted) if name not in there]:
            raise UsageError(f"asof: {side} has no column {', '.join(missing)}")
    gap = [f"{prefix}{gap_marks.GAP}"] if has_gaps else []
    made = [*(f"{prefix}{name}{end}" for name in names for end in ("", SOURCE, AGE)), *gap]
    if taken := [name for name in made if name in left]:
        raise UsageError(f"asof: left has {', '.join(taken)} already: give a prefix")
    if how.direction not in ("backward", "forward", "nearest"):
        raise UsageError(f"asof: direction={how.direction!r}: must be backward, forward or nearest")


def _matches(left: pl.DataFrame, right: pl.DataFrame, how: _How) -> pl.Series:
    """By row of ``left``, the number of the row of ``right``, null = none."""
    keys = [key for key in how.keys if not _is_one(left[key], right[key])]
    lefts, rights = _in_order(left, keys, how.on), _in_order(right, keys, how.on)
    rights = rights.rename({_ROW: _MATCH}).with_columns(pl.col(how.on).alias(_AT))
    found = [
        lefts.join_asof(
            rights,
            on=how.on,
            by=keys or None,
            strategy=strategy,
            tolerance=how.tolerance_ns,
            allow_exact_matches=how.allow_exact_matches,
            check_sortedness=False,
        )
        for strategy in ("backward", "forward")
        if how.direction in (strategy, "nearest")
    ]
    joined = found[0]
    if len(found) == 2:
        earlier_age = pl.col(how.on) - pl.col(_AT)
        later = found[1].select(
            pl.col(_MATCH).alias("__later"), (pl.col(_AT) - pl.col(how.on)).alias("__later_age")
        )
        takes_later = pl.col(_MATCH).is_null() | (pl.col("__later_age") < earlier_age).fill_null(False)
        joined = joined.hstack(later).with_columns(
            pl.when(takes_later).then("__later").otherwise(_MATCH).alias(_MATCH)
        )
    if len(joined) < len(left):  # those without a time
        every = pl.DataFrame({_ROW: pl.int_range(len(left), dtype=pl.UInt32, eager=True)})
        joined = every.join(joined.select(_ROW, _MATCH), on=_ROW, how="left")
    return (joined if joined[_ROW].is_sorted() else joined.sort(_ROW))[_MATCH]


def _is_one(left: pl.Series, right: pl.Series) -> bool:
    """The same everywhere: then nothing has to be compared."""
    if not len(left) or not len(right) or left[0] is None:
        return False
    ends = (left[-1], right[0], right[-1])
    return all(end == left[0] for end in ends) and all(
        bool((side == left[0]).all(ignore_nulls=False)) for side in (left, right)
    )


def _in_order(rows: pl.DataFrame, keys: list[str], on: str) -> pl.DataFrame:
    """``keys`` and ``on``, sorted by time within each group, with the row's number; without rows that have no time.

    Rows of files are sorted so already: by symbol, then time."""
    numbered = rows.select(*keys, on).with_row_index(_ROW)
    if rows[on].null_count():
        numbered = numbered.drop_nulls(on)
    if numbered[on].is_sorted():
        return numbered
    if keys:
        runs = numbered.select(pl.struct(keys).rle_id() if keys[1:] else pl.col(keys[0]).rle_id()).to_series()
        begins = (runs.diff() != 0).fill_null(True)
        goes_back = (numbered[on].diff() < 0) & ~begins
        if not goes_back.any() and not numbered.select(keys).filter(begins).is_duplicated().any():
            return numbered
    return numbered.sort(on, maintain_order=True)


def _column(
    left: pl.DataFrame, right: pl.DataFrame, name: str, matches: pl.Series, on: str, prefix: str
) -> Iterable[pl.Series]:
    """The values, their source and their age."""
    named = f"{prefix}{name}"
    yield right[name].gather(matches).alias(named)
    source = (
        right["exchange"]
        if "exchange" in right.columns
        else pl.repeat(None, len(right), dtype=pl.String, eager=True)
    )
    yield source.gather(matches).alias(f"{named}{SOURCE}")
    yield (left[on] - right[on].gather(matches)).alias(f"{named}{AGE}")


def _gap(
    left: pl.DataFrame, right: pl.DataFrame, matches: pl.Series, holes: pl.DataFrame, on: str
) -> pl.Series:
    """Whether a hole of the matched row's own stream lies between it and the row of ``left``."""
    streams = right.select(pl.col(*gap_marks.STREAM, on).gather(matches))
    pairs = streams.select(
        *gap_marks.STREAM,
        pl.min_horizontal(on, left[on]).alias("__first"),
        pl.max_horizontal(on, left[on]).alias("__last"),
        pl.col(on).is_not_null().alias("__is_match"),
    )
    marked = gap_marks.marked(pairs.with_row_index(_ROW).lazy(), holes, pl.col("__first"), pl.col("__last"))
    known = pl.when("__is_match").then(gap_marks.GAP)
    return marked.sort(_ROW).select(known.alias(gap_marks.GAP)).collect()[gap_marks.GAP]


def _result(left: Rows, right: Rows, made: pl.DataFrame) -> Result:
    """What is known of both: complete as far as the less complete, ``versions`` of all tables."""
    known = [side for side in (left, right) if isinstance(side, Result)]
    untils = [side.complete_until_ns for side in known]
    first = left if isinstance(left, Result) else None
    return Result(
        rows=made.lazy(),
        table=" asof ".join(side.table if isinstance(side, Result) else "frame" for side in (left, right)),
        complete_until_ns=min((until for until in untils if until is not None), default=None)
        if None not in untils
        else None,
        start_ns=first.start_ns if first else TIME_NS_MIN,
        end_ns=first.end_ns if first else TIME_NS_MAX,
        versions={table: version for side in reversed(known) for table, version in side.versions.items()},
        scan=sum((side.scan for side in known), Scan()),
        is_one_symbol=first.is_one_symbol if first else False,
        is_ordered=first is None,
    )
