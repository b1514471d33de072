"""The HTTP interface as data: paths, parameters and columns, from which requests are read and OpenAPI is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from etl.errors import UsageError
from etl.gateway.ranges import (
    BOOK_SNAPSHOTS,
    CLICKHOUSE,
    COMMON,
    FLOAT,
    FORMATS,
    MADE,
    OHLCV,
    STORES,
    TABLES,
    TEXT,
)
from etl.gateway.reference import REFERENCE, Reference
from etl.model.times import NS_PER_S, duration_ns, parse_ns

LIMIT_DEFAULT = 10_000
VALUE_CHARACTERS_MAX = 2_000


class Parameter(Struct, frozen=True):
    """``read`` raises ``UsageError``."""

    name: str
    meaning: str
    read: Callable[[str], Any] = str
    is_required: bool = False
    default: Any = ""
    choices: tuple[str, ...] = ()
    kind: str = "string"


def _number(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) < 12):
        raise UsageError("a number")
    return int(text)


def _yes(text: str) -> bool:
    if text not in ("true", "false"):
        raise UsageError("true or false")
    return text == "true"


EXCHANGE = Parameter("exchange", "The feed, as in binance", is_required=True)
SYMBOL = Parameter("symbol", "The unified name, as in BTC-USDT", is_required=True)
START = Parameter(
    "start", "ISO 8601, UTC where it names no zone; the first of the range", parse_ns, is_required=True
)
END = Parameter("end", "ISO 8601; after the range", parse_ns, is_required=True)
FORMAT = Parameter("format", "Of the answer; json is a line a row", default="json", choices=tuple(FORMATS))
LIMIT = Parameter("limit", "Rows of a page", _number, default=LIMIT_DEFAULT, kind="integer")
PAGE = Parameter("cursor", "X-Next-Cursor of the page before")
DECIMALS = Parameter(
    "decimals", "Prices and sizes: exact text, or floats", default=TEXT, choices=(TEXT, FLOAT)
)
ESTIMATE = Parameter("estimate", "Only how many rows there are", _yes, default=False, kind="boolean")
STORE = Parameter(
    "store",
    "Where the rows are: the lake has the whole past, up to its last export",
    default=CLICKHOUSE,
    choices=STORES,
)
INTERVAL = Parameter("interval", "Of bars: 1s, 1m, 5m, 1h, 1d; all if left out")
MADE_INTERVAL = Parameter("interval", "Of bars", default="1m", choices=("1s", "1m"))
EVERY = Parameter("every", "The length of time, as in 250ms, 1s, 1m", duration_ns, default=NS_PER_S)
DEPTH = Parameter("depth", "Levels of each side at most; 0 = all", _number, default=20, kind="integer")
CHANNEL = Parameter("channel", "Of the book, where the symbol has several")
ONE_EXCHANGE = Parameter("exchange", "One feed alone")
ONE_SYMBOL = Parameter("symbol", "One symbol alone")
KNOWN_AT = Parameter("at", "As it was known at this time; left out = what holds now", parse_ns)
FILTERS: Mapping[str, Parameter] = {
    one.name: one
    for one in (
        ONE_SYMBOL,
        Parameter("current_symbol", "The instruments that are called so today, under all their names"),
        Parameter("of_time", "Whose the names were at this time", parse_ns),
        Parameter("start", "ISO 8601; what ends before it is left out", parse_ns),
        Parameter("end", "ISO 8601; what begins then or later is left out", parse_ns),
    )
}
"""Of reference data."""


class Endpoint(Struct, frozen=True):
    name: str
    meaning: str
    parameters: tuple[Parameter, ...]
    columns: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/v1/{self.name}"


def _of_table(name: str) -> Endpoint:
    table = TABLES[name]
    own = (INTERVAL,) if name == "bars" else ()
    parameters = (EXCHANGE, SYMBOL, START, END, *own, STORE, FORMAT, DECIMALS, LIMIT, PAGE, ESTIMATE)
    return Endpoint(name, table.meaning, parameters, (*COMMON, *table.columns))


def _made(name: str, *own: Parameter) -> Endpoint:
    parameters = (EXCHANGE, SYMBOL, START, END, *own, FORMAT, DECIMALS, LIMIT, PAGE, ESTIMATE)
    return Endpoint(name, MADE[name].meaning, parameters, MADE[name].columns)


def _of_reference(name: str, reference: Reference) -> Endpoint:
    filters = (FILTERS[one] for one in reference.filters)
    known = (KNOWN_AT,) if reference.known else ()
    return Endpoint(name, reference.meaning, (ONE_EXCHANGE, *filters, *known, FORMAT), reference.columns)


_SUMMED = (ONE_EXCHANGE, ONE_SYMBOL, START, END, FORMAT, LIMIT)
ENDPOINTS: Mapping[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        *(_of_table(name) for name in TABLES),
        _made(OHLCV, MADE_INTERVAL),
        _made(BOOK_SNAPSHOTS, EVERY, DEPTH, CHANNEL),
        Endpoint("instruments", "What was recorded in a range", _SUMMED,
                 ("exchange", "symbol", "venue_symbol", "kinds", "first_time", "last_time")),
        Endpoint("coverage", "Rows by kind and UTC day in a range", _SUMMED,
                 ("exchange", "symbol", "kind", "day", "rows", "first_time", "last_time")),
        *(_of_reference(name, reference) for name, reference in REFERENCE.items()),
    )
}  # fmt: skip


def read_parameters(endpoint: Endpoint, query: Mapping[str, str]) -> dict[str, Any]:
    """By name, complete. Raises ``UsageError`` for what is wrong, missing or unknown."""
    known = {parameter.name: parameter for parameter in endpoint.parameters}
    for name in query:
        if name not in known:
            raise UsageError(f"{name[:50]}: no such parameter; there are {', '.join(known)}")
    values = {}
    for name, parameter in known.items():
        text = query.get(name, "")
        if not text:
            if parameter.is_required:
                raise UsageError(f"{name} is missing: {parameter.meaning}")
            values[name] = parameter.default
            continue
        if len(text) > VALUE_CHARACTERS_MAX:
            raise UsageError(f"{name}: at most {VALUE_CHARACTERS_MAX} characters")
        if parameter.choices and text not in parameter.choices:
            raise UsageError(f"{name}: {', '.join(parameter.choices)}")
        try:
            values[name] = parameter.read(text)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    return values
