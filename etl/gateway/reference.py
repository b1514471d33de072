"""What HTTP gives of the reference data: what holds now, or was known at a time. Pure.

An answer has all rows: these tables are small. One that would have more than a gateway gives is refused, never cut.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from etl.gateway.ranges import FORMATS, names_parameter, text_parameter
from etl.model.reference import CORPORATE_ACTIONS, INSTRUMENTS, SESSIONS, SYMBOL_NAMES, ReferenceTable
from etl.model.times import NS_PER_S

DECIMALS = frozenset(("shares_before", "shares_after", "cash_amount", "strike", "value"))
EVER = "2262-01-01 00:00:00"
"""What is known then is what holds now; the views of the stores say so, too."""
_TERMS: Mapping[str, str] = {
    "symbol": "symbol = {symbol:String}",
    "current_symbol": "current_symbol = {current_symbol:String}",
    "start": "closes_ns >= {start:Int64}",
    "end": "opens_ns < {end:Int64}",
    "of_time": "first_day <= toDate32(fromUnixTimestamp64Nano({of_time:Int64}), 'America/New_York')"
    " AND ifNull(until_day > toDate32(fromUnixTimestamp64Nano({of_time:Int64}), 'America/New_York'), true)",
}
"""What a parameter asks of a row."""


class Reference(Struct, frozen=True):
    """``view``: of the stores; ``known``: its parameter that is a time, where it has one."""

    view: str
    columns: tuple[str, ...]
    order: tuple[str, ...]
    filters: tuple[str, ...]
    meaning: str
    known: str = "known_time"


def _kept(
    table: ReferenceTable, filters: tuple[str, ...], meaning: str, order: tuple[str, ...] = ()
) -> Reference:
    return Reference(
        f"{table.name}_at", (*table.columns, "recorded_ns"), order or table.key, filters, meaning
    )


REFERENCE: Mapping[str, Reference] = {
    "listings": _kept(INSTRUMENTS, ("symbol",), "What the venues' lists say of their instruments"),
    "sessions": _kept(
        SESSIONS, ("start", "end"), "When markets trade, and when not", ("exchange", "opens_ns", "closes_ns")
    ),
    "corporate_actions": _kept(
        CORPORATE_ACTIONS, ("symbol",), "Splits, dividends, mergers and spin-offs, a row of each vendor"
    ),
    "symbol_names": _kept(SYMBOL_NAMES, ("symbol",), "Which name an instrument had since which day"),
    "symbol_spans": Reference(
        "symbol_spans",
        ("exchange", "instrument_id", "symbol", "first_day", "until_day", "current_symbol", "figi", "title", "origin"),
        ("exchange", "instrument_id", "first_day"),
        ("symbol", "current_symbol", "of_time"),
        "From when until when a name was whose, and what that instrument is called today",
        known="",
    ),
    "observations": Reference(
        "observations_asof",
        ("exchange", "symbol", "observation_date", "vintage_date", "value", "unit", "release", "known_time"),
        ("exchange", "symbol", "observation_date"),
        ("symbol",),
        "What series say of each period, in the vintage that was known",
        known="at",
    ),
}  # fmt: skip
"""By their names in a path. What lists say of instruments is ``listings``: ``instruments`` is what was recorded."""


def reference_statement(name: str, values: Mapping[str, Any], form: str) -> str:
    asked = REFERENCE[name]
    columns = ", ".join(f"toString({one}) AS {one}" if one in DECIMALS else one for one in asked.columns)
    view = f"{asked.view}({asked.known} = '{_moment(values['at'])}')" if asked.known else asked.view
    terms = [f"({_TERMS[one]})" for one in asked.filters if values[one] != ""]
    where = " AND ".join(
        ("(empty({exchanges:Array(String)}) OR has({exchanges:Array(String)}, exchange))", *terms)
    )
    return f"SELECT {columns} FROM {view} WHERE {where} ORDER BY {', '.join(asked.order)} FORMAT {FORMATS[form][0]}"  # noqa: S608


def reference_parameters(name: str, values: Mapping[str, Any], exchanges: list[str]) -> dict[str, str]:
    """Of ``reference_statement``; no ``exchanges`` = all."""
    given = {one: text_parameter(str(values[one])) for one in REFERENCE[name].filters if values[one] != ""}
    return {"exchanges": names_parameter(exchanges), **given}


def _moment(at_ns: int | str) -> str:
    """ "" = now, and for ever."""
    if at_ns == "":
        return EVER
    seconds, rest_ns = divmod(int(at_ns), NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{rest_ns:09}"
