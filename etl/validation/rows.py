"""The check of rows on their way into a store: the hard rules of every table, by batch.

Live, repaired and backfilled records are checked one by one on ingestion (``checker.py``). What a store reads from the
topic is checked here, so that whatever else came onto it, from an older version or by hand, is judged by the same
rules. Soft rules are not asked again: their flags are in the record. What needs a connection's memory (levels, repeated
identities) is checked on ingestion alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from etl.adapter.contract import Exchange
from etl.model.records import BookAction, Kind, Severity, SizeUnit
from etl.validation.batch import VIEW_OF, Column, cast_decimals, check_batch, times_of
from etl.validation.checker import INTERVAL_NS, NOT_ALIGNED
from etl.validation.decimals import all_fit, decimal_fault
from etl.validation.specs import SPECS, ValidationSpec, specs_for
from etl.validation.views import BookView, Times, day_number
from etl.wire.columns import COLUMNS, DECIMAL_RULE, Form, Refused, Rows, without

REASON_VALUE_CHARACTERS_MAX = 60
_DECIMALS = {
    kind: tuple(column.name for column in columns if column.form in (Form.DECIMAL, Form.DECIMALS))
    for kind, columns in COLUMNS.items()
}

ANY_VENUE = {kind: msgspec.structs.replace(spec, event_time_declared=False) for kind, spec in SPECS.items()}
"""Of a venue that is not given nothing is known: the table's own bounds, and no event time is demanded."""

_TIMES = (
    "event_time_ns",
    "receive_time_ns",
    "publish_time_ns",
    "participant_time_ns",
    "next_funding_time_ns",
)
_UNITS = {"": 0, **{unit.name.lower(): int(unit) for unit in SizeUnit if unit}}
_SNAPSHOT, _RELATIVE = BookAction.SNAPSHOT.name.lower(), BookAction.RELATIVE.name.lower()
_TRADE_FIELDS = {"last_price": "price", "volume": "size"}
_FIELDS: dict[Kind, dict[str, str]] = {
    Kind.TRADE: _TRADE_FIELDS,
    Kind.AGG_TRADE: _TRADE_FIELDS,
    Kind.LIQUIDATION: _TRADE_FIELDS,
    Kind.QUOTE: {name: name for name in ("bid", "bid_size", "ask", "ask_size")},
    Kind.BAR: {
        **{
            name: name
            for name in ("open", "high", "low", "close", "vwap", "quote_volume", "taker_buy_volume")
        },
        "volume": "size",
    },
    Kind.CORRECTION: _TRADE_FIELDS,
    Kind.STATUS: {name: name for name in ("limit_down", "limit_up")},
    Kind.STATS: {name: name for name in ("mark_price", "index_price", "open_interest", "funding_rate")},
}
"""Column → the field of the kind's view."""


class RowsCheck:
    """The hard rules of every table, with the bounds of the venues given.

    Raises ``UsageError`` for a venue without a spec.
    """

    def __init__(self, exchanges: Iterable[type[Exchange]]) -> None:
        self._specs = {
            kind: msgspec.structs.replace(
                spec, rules=tuple(r for r in spec.rules if r.severity is Severity.HARD)
            )
            for kind, spec in SPECS.items()
        }
        self._of_venue = {exchange.name: specs_for(exchange) for exchange in exchanges}

    def refused(self, rows: Rows) -> list[Refused]:
        """The rows that break a hard rule, each with the first that it breaks."""
        spec = self._specs[rows.kind]
        unfit = list(_unfit(rows))
        kept = without([rows], {item.offset for item in unfit}) if unfit else [rows]
        return (
            [*unfit, *(item for rest in kept for item in self._broken(rest, spec))] if spec.rules else unfit
        )

    def _broken(self, rows: Rows, spec: ValidationSpec) -> Iterator[Refused]:
        last = -1
        for finding in check_batch(self._view(rows, spec), spec):
            if finding.row != last:
                last = finding.row
                reason = _reason(rows, spec, finding.row)
                yield Refused(rows.offsets[finding.row], reason, finding.code, finding.rule)

    def _view(self, rows: Rows, spec: ValidationSpec) -> Times:
        values = rows.values
        columns: dict[str, Column] = {
            name: rows.columns[name].to_numpy() for name in _TIMES if name in values
        }
        if "size_unit" in values:
            columns["size_unit"] = np.array([_UNITS[name] for name in values["size_unit"]])
        for name, field in _FIELDS.get(rows.kind, {}).items():
            columns[field] = _numbers(values[name])
        if rows.kind is Kind.OBSERVATION:
            columns["observation_day"] = np.array([*map(day_number, values["observation_date"])])
        if rows.kind is Kind.BAR:
            intervals = [INTERVAL_NS.get(name, NOT_ALIGNED) if name else 0 for name in values["interval"]]
            columns["interval_ns"] = np.array(intervals)
        is_book = rows.kind is Kind.BOOK
        view = _book_view(rows, columns, spec) if is_book else VIEW_OF[rows.kind](columns, spec)
        venues = rows.columns["exchange"].combine_chunks().dictionary_encode()
        specs = [self._of_venue.get(name, ANY_VENUE)[rows.kind] for name in venues.dictionary.to_pylist()]
        of_row = venues.indices.to_numpy()
        return msgspec.structs.replace(
            view,
            event_time_min_ns=np.array([of_venue.event_time_min_ns for of_venue in specs])[of_row],
            event_time_declared=np.array([of_venue.event_time_declared for of_venue in specs])[of_row],
        )


def _book_view(rows: Rows, columns: dict[str, Column], spec: ValidationSpec) -> BookView:
    """A row per message: the extremes of its levels, NaN where it has none."""
    bids, asks, bid_sizes, ask_sizes = (
        rows.values[name] for name in ("bid_prices", "ask_prices", "bid_sizes", "ask_sizes")
    )
    lengths = [[*map(len, column)] for column in (bids, bid_sizes, asks, ask_sizes)]
    hard = np.array([limit.hard for limit in spec.sizes])
    least_bid, best_bid = _extremes(bids)
    best_ask, greatest_ask = _extremes(asks)
    least_bid_size, greatest_bid_size = _extremes(bid_sizes)
    least_ask_size, greatest_ask_size = _extremes(ask_sizes)
    size_min, size_top = (
        np.fmin(least_bid_size, least_ask_size),
        np.fmax(greatest_bid_size, greatest_ask_size),
    )
    is_relative = np.array([action == _RELATIVE for action in rows.values["book_action"]])
    return BookView(
        *times_of(columns, spec, None),
        price_min=np.fmin(least_bid, best_ask),
        price_top=np.fmax(best_bid, greatest_ask),
        size_min=np.where(is_relative, np.abs(size_min), size_min),
        size_top=np.where(is_relative, np.fmax(np.abs(size_min), np.abs(size_top)), size_top),
        best_bid=best_bid,
        best_ask=best_ask,
        is_snapshot=np.array([action == _SNAPSHOT for action in rows.values["book_action"]]),
        uneven=(np.array(lengths[0]) != np.array(lengths[1]))
        | (np.array(lengths[2]) != np.array(lengths[3])),
        price_max=spec.price_max,
        size_hard_max=hard[columns["size_unit"]],
    )


def _extremes(lists: Sequence[Sequence[str]]) -> tuple[Column, Column]:
    """Least and greatest number of each list, NaN of an empty one."""
    texts: list[str] = []
    starts = []
    for levels in lists:
        starts.append(len(texts))
        texts += levels
        texts.append("")  # absent: no list is empty to the reduction, which passes it over
    numbers = _numbers(texts)
    return np.fmin.reduceat(numbers, starts), np.fmax.reduceat(numbers, starts)


def _numbers(texts: Sequence[str]) -> Column:
    return cast_decimals(pa.array([text or None for text in texts], pa.string()))


def _unfit(rows: Rows) -> Iterator[Refused]:
    """The rows with a text that is no decimal, or that not every store holds exactly."""
    names = [
        name
        for name in _DECIMALS[rows.kind]
        if not all_fit([text for text in _texts(rows.values[name]) if text])
    ]
    if not names:
        return
    for row, offset in enumerate(rows.offsets):
        for name in names:
            faults = ((text, decimal_fault(text)) for text in _texts([rows.values[name][row]]) if text)
            found = next(((text, code) for text, code in faults if code), None)
            if found:
                text, code = found
                reason = f"{name}={text[:REASON_VALUE_CHARACTERS_MAX]!r}"
                yield Refused(offset, reason, str(code), DECIMAL_RULE)
                break


def _texts(values: Sequence[Any]) -> list[str]:
    """The texts of a column of decimals, or of lists of them."""
    if values and isinstance(values[0], list):
        return [text for levels in values for text in levels]
    return list(values)


def _reason(rows: Rows, spec: ValidationSpec, row: int) -> str:
    """The numbers that a reader of the quarantine wants to see."""
    names = ("event_time_ns", "receive_time_ns", *spec.decimals)
    shown = ((name, rows.values[name][row]) for name in names)
    return " ".join(f"{name}={str(value)[:REASON_VALUE_CHARACTERS_MAX]}" for name, value in shown if value)
