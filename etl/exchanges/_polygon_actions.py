"""Polygon's splits and dividends.

``{"results":[{"execution_date":"2020-08-31","id":"E36","split_from":1,"split_to":4,"ticker":"AAPL"}],"status":"OK"}``,
and with ``ex_dividend_date``, ``cash_amount``, ``currency``, ``dividend_type`` in the place of these. The vendor's
cumulative factors are as of today and change with every later event: they are not read.

https://massive.com/docs/rest/stocks/corporate-actions/splits
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import msgspec
from msgspec import Struct

from etl.adapter.fields import Name
from etl.model.reference import CorporateAction

PATHS = (
    "/v3/reference/splits?execution_date.gte={from_day}&execution_date.lte={to_day}&limit=1000"
    "&order=asc&sort=execution_date",
    "/v3/reference/dividends?ex_dividend_date.gte={from_day}&ex_dividend_date.lte={to_day}&limit=1000"
    "&order=asc&sort=ex_dividend_date",
)


class _Row(Struct):
    ticker: Name
    id: str = ""
    execution_date: date | None = None
    split_from: Decimal | None = None
    split_to: Decimal | None = None
    ex_dividend_date: date | None = None
    cash_amount: Decimal | None = None
    currency: str = ""
    declaration_date: date | None = None
    record_date: date | None = None
    pay_date: date | None = None


class _Answer(Struct):
    results: list[_Row]


def read_actions(exchange: str, payload: bytes) -> Iterable[CorporateAction]:
    """Raises ``ValueError`` for what is none."""
    return [_action(exchange, row) for row in msgspec.json.decode(payload, type=_Answer).results]


def _action(exchange: str, row: _Row) -> CorporateAction:
    if row.execution_date and row.split_from and row.split_to and min(row.split_from, row.split_to) > 0:
        key = row.id or f"split/{row.ticker}/{row.execution_date}"
        return CorporateAction(
            exchange, key, row.ticker, "split", row.execution_date, row.split_from, row.split_to
        )
    if row.ex_dividend_date and row.cash_amount is not None:
        return CorporateAction(
            exchange,
            row.id or f"cash_dividend/{row.ticker}/{row.ex_dividend_date}/{row.cash_amount}",
            row.ticker,
            "cash_dividend",
            row.ex_dividend_date,
            cash_amount=row.cash_amount,
            currency=row.currency,
            declared_day=row.declaration_date,
            record_day=row.record_date,
            pay_day=row.pay_date,
        )
    raise ValueError(f"{row.ticker}: neither a split nor a dividend")
