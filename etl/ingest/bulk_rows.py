"""Blocks of a file of bars → columns, for lines that are plainly good; the others are named, for the venue's parser.

A line is plainly good if its cells have the plain form, its instrument needs no list, no rule objects to it, and no
other line of the block is the same bar. About 2 µs a line, where the parser and the way of a record cost fifty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from etl.adapter.bulk import BulkBars
from etl.adapter.contract import Exchange, Ignored, Outcome, Rejected
from etl.adapter.sessions import bar_state_of_history
from etl.model.records import Bar, Frame, Kind, Record
from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns
from etl.sinks.bulk_bars import Bars
from etl.validation.batch import bar_view, cast_decimals, check_batch
from etl.validation.specs import specs_for

DECIMAL = r"^(?:0|[1-9][0-9]{0,9})(?:\.[0-9]{1,8})?$"
"""Ten digits and eight behind the point: what the narrowest column of any store holds."""
COUNT = r"^(?:0|[1-9][0-9]{0,8})$"
TIME = r"^1[0-9]{18}$"
"""ns of 2001 to 2033."""
PLAIN_BYTES = bytes((10, *range(32, 127)))
"""Without them no line ends otherwise than all others do, and no letter is two."""

Flags = npt.NDArray[np.bool_]


class BulkReader:
    """Of one file's blocks, in their order. ``parser`` is asked about one line of each block."""

    def __init__(self, parser: Exchange, layout: BulkBars) -> None:
        self._parser, self._layout = parser, layout
        self._spec = specs_for(type(parser))[Kind.BAR]
        self._delay_ns = round(parser.delay_s * NS_PER_S)
        self._headings = layout.headings
        self._file = ""

    def read(self, frame: Frame) -> tuple[Bars | None, Sequence[int] | None]:
        """The good lines, and the numbers of the others, from 0; ``None`` = all of ``frame`` is the parser's."""
        payload = frame.payload
        count = payload.count(b"\n") + (not payload.endswith(b"\n"))
        self._read_headings(frame)
        if payload.translate(None, PLAIN_BYTES) or not set(self._layout.headings) <= set(self._headings):
            return None, None
        cells, lines = _cells(payload, self._headings, count)
        if cells is None:
            return None, None
        good = self._plain(cells)
        common = self._common(frame, lines, good)
        if common is None:
            return None, None
        table = self._columns(frame, common, cells.filter(pa.array(good)), lines[good])
        kept = self._without_findings(common, table) & _is_alone(table)
        odd = np.ones(count, dtype=bool)
        odd[lines[good][kept]] = False
        table = table.filter(pa.array(kept))
        return (Bars(common, table) if len(table) else None), np.flatnonzero(odd).tolist()

    def _read_headings(self, frame: Frame) -> None:
        name = frame.endpoint.partition("#")[0]
        if name != self._file:
            self._file, self._headings = name, self._layout.headings
        first = tuple(
            cell.strip() for cell in frame.payload.partition(b"\n")[0].decode("ascii", "replace").split(",")
        )
        if self._layout.start in first:
            self._headings = first

    def _plain(self, cells: pa.Table) -> Flags:
        layout = self._layout
        good = _matches(cells[layout.start], TIME) & _matches(cells[layout.trade_count], COUNT)
        for name in (*layout.prices, layout.volume):
            good &= _matches(cells[name], DECIMAL)
        tickers = cells[layout.ticker].combine_chunks().dictionary_encode()
        known = [layout.symbols.fullmatch(ticker) is not None for ticker in tickers.dictionary.to_pylist()]
        good &= np.array(known, dtype=bool)[_numbers(tickers.indices)]
        starts = np.zeros(len(good), dtype=np.int64)
        starts[good] = _integers(cells[layout.start].filter(pa.array(good)))
        return cast(Flags, good & (starts % NS_PER_MS == 0))

    def _common(self, frame: Frame, lines: npt.NDArray[np.int64], good: Flags) -> Bar | None:
        """The first good line as the parser reads it."""
        if not good.any():
            return None
        first = int(lines[int(np.argmax(good))])
        *_, found = plain_outcomes(self._parser.parse, frame, sorted({0, first}))  # 0 may be the headings
        if not isinstance(found, Bar) or found.symbol != found.venue_symbol or found.flags:
            return None
        return found

    def _columns(self, frame: Frame, common: Bar, cells: pa.Table, lines: npt.NDArray[np.int64]) -> pa.Table:
        layout, count = self._layout, len(cells)
        starts = cells[layout.start]
        keys = pc.binary_join_element_wise(pa.scalar(common.interval), starts, "/")
        event_time_ns = _integers(starts)
        columns: dict[str, Any] = {
            "symbol": cells[layout.ticker],
            "event_time_ns": event_time_ns,
            "receive_time_ns": np.full(count, frame.receive_time_ns, dtype=np.int64),
            "frame_sequence": np.full(count, frame.frame_sequence, dtype=np.int64),
            "frame_index": lines.astype(np.int32),
            "record_key": keys,
            **dict(
                zip(("open", "high", "low", "close"), (cells[name] for name in layout.prices), strict=True)
            ),
            "volume": cells[layout.volume],
            "trade_count": _integers(cells[layout.trade_count]),
            "bar_state": self._states(frame, common, event_time_ns),
        }
        return pa.table(columns)

    def _states(self, frame: Frame, common: Bar, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Told once for each time at which bars begin."""
        asked_ns = frame.receive_time_ns - self._delay_ns
        times, places = np.unique(starts, return_inverse=True)
        states = [
            bar_state_of_history(self._layout.calendar, common.interval, start_ns, asked_ns)
            for start_ns in times.tolist()
        ]
        return np.array(states, dtype=np.int32)[places]

    def _without_findings(self, common: Bar, table: pa.Table) -> Flags:
        prices = {name: cast_decimals(table[name]) for name in ("open", "high", "low", "close")}
        columns = {
            "event_time_ns": np.asarray(table["event_time_ns"]),
            "receive_time_ns": np.asarray(table["receive_time_ns"]),
            "size_unit": np.array([common.size_unit]),
            "size": cast_decimals(table["volume"]),
            "interval_ns": np.array([interval_ns(common.interval)]),
            **prices,
        }
        kept = np.ones(len(table), dtype=bool)
        for finding in check_batch(bar_view(columns, self._spec), self._spec):
            kept[finding.row] = False
        return kept


def plain_outcomes(
    parse: Callable[[Frame], Sequence[Outcome]], frame: Frame, lines: Sequence[int] | None
) -> list[Outcome]:
    """What ``parse`` makes of some of the lines of ``frame``, as if it had read all of them; ``None`` = it has."""
    if lines is None:
        return list(parse(frame))
    if not lines:
        return []
    texts = frame.payload.split(b"\n", max(lines) + 1)
    part = msgspec.structs.replace(frame, payload=b"".join(texts[number] + b"\n" for number in lines))
    return [_renumbered(outcome, lines) for outcome in parse(part)]


def _renumbered(outcome: Outcome, lines: Sequence[int]) -> Outcome:
    if isinstance(outcome, Record):
        return msgspec.structs.replace(outcome, frame_index=lines[outcome.frame_index])
    if isinstance(outcome, Rejected | Ignored):
        return msgspec.structs.replace(outcome, index=lines[outcome.index])
    return outcome


def _cells(
    payload: bytes, headings: Sequence[str], count: int
) -> tuple[pa.Table | None, npt.NDArray[np.int64]]:
    """The cells as text, and the lines that they are of; none where lines cannot be told."""
    short: list[int] = []

    def leave_out(row: csv.InvalidRow) -> str:
        short.append(row.number - 1 if row.number else -1)
        return "skip"

    table = csv.read_csv(
        pa.py_buffer(payload),
        read_options=csv.ReadOptions(
            use_threads=False, column_names=list(headings), block_size=len(payload) + 1
        ),
        parse_options=csv.ParseOptions(
            quote_char=False, ignore_empty_lines=False, invalid_row_handler=leave_out
        ),
        convert_options=csv.ConvertOptions(
            column_types=dict.fromkeys(headings, pa.string()), strings_can_be_null=False
        ),
    )
    lines = np.setdiff1d(np.arange(count), np.array(short, dtype=np.int64), assume_unique=True)
    return (table if len(table) == len(lines) and -1 not in short else None), lines


def _is_alone(table: pa.Table) -> Flags:
    """Whether no other row is the same bar: of two, the stores say which holds, and know the order of the topic."""
    symbols = _numbers(table["symbol"].combine_chunks().dictionary_encode().indices)
    starts = np.asarray(table["event_time_ns"])
    order = np.lexsort((starts, symbols))
    same = (symbols[order][1:] == symbols[order][:-1]) & (starts[order][1:] == starts[order][:-1])
    alone = np.ones(len(table), dtype=bool)
    alone[order[1:][same]] = False
    alone[order[:-1][same]] = False
    return alone


def _matches(column: pa.ChunkedArray, pattern: str) -> Flags:
    return np.asarray(pc.match_substring_regex(column, pattern), dtype=bool)


def _integers(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return _numbers(column.cast(pa.int64()))


def _numbers(values: Any) -> npt.NDArray[np.int64]:
    return np.asarray(values, dtype=np.int64)
