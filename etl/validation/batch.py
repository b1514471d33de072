"""The same rules over the columns of a batch, as NumPy arrays: what backfills, loads and the audit use.

A writer has the typed columns anyway (``cast_decimals`` makes them from text); a clean batch then costs a few
vector comparisons a rule. What is stateful on ingestion (identity against recent records, confirmed levels) is a
question of SQL here: ``sql/checks``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Struct

from etl.model.records import Kind, Severity, SizeUnit
from etl.validation.rules import Rule
from etl.validation.specs import ValidationSpec
from etl.validation.statistics import UNKNOWN, PriceBand
from etl.validation.views import (
    INFINITY,
    NAN,
    BarView,
    BookView,
    CorrectionView,
    ObservationView,
    QuoteView,
    StatsView,
    StatusView,
    Times,
    TimeValues,
    TradeView,
)

Column = npt.NDArray[Any]


class RowFinding(Struct, frozen=True):
    """``row`` of the batch broke ``rule``."""

    row: int
    code: str
    severity: Severity
    rule: str


def check_batch(view: Times, spec: ValidationSpec) -> list[RowFinding]:
    """Every broken rule of every row, by row and then in the order of the spec. ``view`` holds arrays."""
    findings: list[tuple[int, int, Rule]] = []
    for order, rule in enumerate(spec.rules):
        bad = rule.bad(view)
        if np.any(bad):
            rows = np.flatnonzero(np.broadcast_to(bad, np.shape(view.event_time_ns)))
            findings += [(int(row), order, rule) for row in rows]
    findings.sort(key=lambda finding: finding[:2])
    return [RowFinding(row, str(rule.code), rule.severity, rule.name) for row, _, rule in findings]


def cast_decimals(texts: pa.Array) -> Column:
    """Decimal text → float64 for the rules, NaN where absent. Raises ``pa.ArrowInvalid`` for other text."""
    return np.asarray(texts.cast(pa.float64()).fill_null(NAN))


def times_of(columns: Mapping[str, Column], spec: ValidationSpec, clock_offset_ns: int | None) -> TimeValues:
    """The fields of ``Times``; lateness is judged only where the clock offset is known."""
    receive_time_ns = columns["receive_time_ns"]
    skew_max_ns: Any = INFINITY
    stale_before_ns: Any = -INFINITY
    if clock_offset_ns is not None:
        skew_max_ns = receive_time_ns + (clock_offset_ns + spec.skew_soft_ns)
        stale_before_ns = receive_time_ns + (clock_offset_ns - spec.stale_soft_ns)
    return (
        columns["event_time_ns"],
        spec.event_time_declared,
        spec.event_time_min_ns,
        receive_time_ns + spec.future_hard_ns,
        skew_max_ns,
        stale_before_ns,
        columns.get("publish_time_ns", 0),
        columns.get("participant_time_ns", 0),
    )


def trade_view(
    columns: Mapping[str, Column],
    spec: ValidationSpec,
    clock_offset_ns: int | None = None,
    bands: Sequence[PriceBand] = (UNKNOWN,),
    band_index: Column | int = 0,
) -> TradeView:
    """``columns``: event_time_ns, receive_time_ns, size_unit (int), price, size (float64); ``bands`` by symbol."""
    soft = np.array([limit.soft for limit in spec.sizes])
    hard = np.array([limit.hard for limit in spec.sizes])
    unit = _single(columns["size_unit"])
    return TradeView(
        *times_of(columns, spec, clock_offset_ns),
        columns["price"],
        columns["size"],
        spec.price_max,
        soft[unit],
        hard[unit],
        _band_column(bands, "price_step", band_index),
        _band_column(bands, "price_figures", band_index),
        _band_column(bands, "soft_low", band_index),
        _band_column(bands, "soft_high", band_index),
        _band_column(bands, "hard_low", band_index),
        _band_column(bands, "hard_high", band_index),
        _band_column(bands, "price_step_former", band_index),
        _band_column(bands, "price_step_since_ns", band_index),
    )


def quote_view(
    columns: Mapping[str, Column], spec: ValidationSpec, clock_offset_ns: int | None = None
) -> QuoteView:
    """``columns``: event_time_ns, receive_time_ns, size_unit, bid, bid_size, ask, ask_size."""
    hard = np.array([limit.hard for limit in spec.sizes])
    return QuoteView(
        *times_of(columns, spec, clock_offset_ns),
        columns["bid"],
        columns["bid_size"],
        columns["ask"],
        columns["ask_size"],
        spec.price_max,
        hard[_single(columns["size_unit"])],
        _single(columns["size_unit"]) == SizeUnit.CONTRACT,
    )


def bar_view(
    columns: Mapping[str, Column], spec: ValidationSpec, clock_offset_ns: int | None = None
) -> BarView:
    """``columns``: event_time_ns, receive_time_ns, size_unit, open, high, low, close, size, interval_ns."""
    hard = np.array([limit.hard for limit in spec.sizes])
    return BarView(
        *times_of(columns, spec, clock_offset_ns),
        columns["open"],
        columns["high"],
        columns["low"],
        columns["close"],
        columns["size"],
        columns["interval_ns"],
        spec.price_max,
        hard[_single(columns["size_unit"])],
        columns.get("vwap", NAN),
        columns.get("quote_volume", NAN),
        columns.get("taker_buy_volume", NAN),
    )


def level_view(
    columns: Mapping[str, Column], spec: ValidationSpec, clock_offset_ns: int | None = None
) -> BookView:
    """A row per level of a book: event_time_ns, receive_time_ns, size_unit, price, size."""
    hard = np.array([limit.hard for limit in spec.sizes])
    return BookView(
        *times_of(columns, spec, clock_offset_ns),
        columns["price"],
        columns["price"],
        columns["size"],
        columns["size"],
        NAN,
        NAN,
        False,
        False,
        spec.price_max,
        hard[_single(columns["size_unit"])],
    )


def correction_view(columns: Mapping[str, Column], spec: ValidationSpec) -> CorrectionView:
    """``columns``: event_time_ns, receive_time_ns, price, size."""
    return CorrectionView(*times_of(columns, spec, None), columns["price"], columns["size"])


def status_view(columns: Mapping[str, Column], spec: ValidationSpec) -> StatusView:
    """``columns``: event_time_ns, receive_time_ns, limit_down, limit_up."""
    return StatusView(*times_of(columns, spec, None), columns["limit_down"], columns["limit_up"])


def observation_view(columns: Mapping[str, Column], spec: ValidationSpec) -> ObservationView:
    """``columns``: event_time_ns, receive_time_ns, observation_day."""
    return ObservationView(*times_of(columns, spec, None), columns["observation_day"])


def stats_view(columns: Mapping[str, Column], spec: ValidationSpec) -> StatsView:
    """``columns``: event_time_ns, receive_time_ns, next_funding_time_ns, and the four numbers under their names."""
    return StatsView(
        *times_of(columns, spec, None),
        columns["mark_price"],
        columns["index_price"],
        columns["open_interest"],
        columns["funding_rate"],
        columns["next_funding_time_ns"],
        spec.price_max,
    )


VIEW_OF: dict[Kind, Callable[..., Times]] = {
    Kind.TRADE: trade_view,
    Kind.AGG_TRADE: trade_view,
    Kind.LIQUIDATION: trade_view,
    Kind.QUOTE: quote_view,
    Kind.BAR: bar_view,
    Kind.BOOK: level_view,
    Kind.CORRECTION: correction_view,
    Kind.STATUS: status_view,
    Kind.STATS: stats_view,
    Kind.OBSERVATION: observation_view,
}


def _single(column: Column) -> Any:
    """One number where all rows agree: a bound that is a scalar costs a vector comparison less."""
    return int(column[0]) if len(column) and (column == column[0]).all() else column


def _band_column(bands: Sequence[PriceBand], name: str, index: Column | int) -> Any:
    values = [getattr(band, name) for band in bands]
    if len(bands) == 1 or all(value != value for value in values):
        return values[0]
    return np.array(values)[index]
