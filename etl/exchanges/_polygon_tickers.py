"""Polygon's list of stocks, those that are listed and those that were.

``{"results":[{"ticker":"AAPL","name":"Apple Inc.","market":"stocks","locale":"us","primary_exchange":"XNAS",
"type":"CS","active":true,"currency_name":"usd","cik":"0000320193","composite_figi":"BBG000B9XRY4",…}],"status":"OK",
"next_url":"…"}``; of one that is gone ``"active":false,"delisted_utc":"2022-11-08T05:00:00Z"``. The day of listing
stands in an answer for each ticker alone, and is not asked for.

https://massive.com/docs/rest/stocks/tickers/all-tickers
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec
from msgspec import Struct

from etl.adapter.fields import Name
from etl.model.reference import InstrumentState

PATHS = tuple(
    f"/v3/reference/tickers?market=stocks&active={active}&limit=1000&order=asc&sort=ticker"
    for active in ("true", "false")
)
ACTIVE, DELISTED = "active", "delisted"
CLASSES = {
    **dict.fromkeys(("CS", "OS", "NYRS"), "stock"),
    **dict.fromkeys(("ADRC", "GDR"), "receipt"),
    **dict.fromkeys(("PFD", "ADRP"), "preferred"),
    **dict.fromkeys(("ETF", "ETS", "ETV"), "etf"),
    "ETN": "note",
    "FUND": "fund",
    "BOND": "bond",
    **dict.fromkeys(("WARRANT", "ADRW"), "warrant"),
    **dict.fromkeys(("RIGHT", "ADRR"), "right"),
    "UNIT": "unit",
}
"""The vendor's types; any other stays as it is, in small letters."""


class _Row(Struct):
    ticker: Name
    name: str | None = ""
    primary_exchange: str | None = ""
    type: str | None = ""
    active: bool = True
    currency_name: str | None = ""
    composite_figi: str | None = ""
    delisted_utc: str | None = ""


class _Answer(Struct):
    results: list[_Row]


def read_listed(exchange: str, payload: bytes) -> Iterable[InstrumentState]:
    """Raises ``ValueError`` for what is none."""
    return [_state(exchange, row) for row in msgspec.json.decode(payload, type=_Answer).results]


def _state(exchange: str, row: _Row) -> InstrumentState:
    kind, left = row.type or "", row.delisted_utc or ""
    return InstrumentState(
        exchange,
        row.ticker,
        row.ticker,
        CLASSES.get(kind, kind.lower()),
        quote=(row.currency_name or "").upper(),
        status=ACTIVE if row.active else DELISTED,
        delisted_day=date.fromisoformat(left[:10]) if left and not row.active else None,
        figi=row.composite_figi or "",
        market=row.primary_exchange or "",
        title=row.name or "",
    )
