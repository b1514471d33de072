"""Alpaca's corporate actions, grouped by their kind.

``{"corporate_actions":{"forward_splits":[{"id":"…","symbol":"AAPL","new_rate":4,"old_rate":1,"ex_date":"2020-08-31"}],
"cash_dividends":[{"symbol":"AAPL","rate":0.25,"ex_date":"2026-02-09"}]},"next_page_token":null}``; what is absent is
empty. A kind that is not known here is kept under its own name.

https://docs.alpaca.markets/reference/corporateactions-1
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import msgspec
from msgspec import Struct

from etl.model.reference import CorporateAction

CURRENCY = "USD"
_SPLITS = frozenset({"forward_splits", "reverse_splits"})
_PAID_AT_RATE = frozenset({"cash_dividend", "cash_merger", "redemption"})


class _Row(Struct):
    """What any of the kinds has."""

    id: str = ""
    symbol: str = ""
    source_symbol: str = ""
    acquiree_symbol: str = ""
    old_symbol: str = ""
    new_symbol: str = ""
    acquirer_symbol: str = ""
    ex_date: date | None = None
    effective_date: date | None = None
    process_date: date | None = None
    record_date: date | None = None
    payable_date: date | None = None
    old_rate: Decimal | None = None
    new_rate: Decimal | None = None
    rate: Decimal | None = None
    source_rate: Decimal | None = None
    acquirer_rate: Decimal | None = None
    acquiree_rate: Decimal | None = None
    cash_rate: Decimal | None = None


class _Answer(Struct):
    corporate_actions: dict[str, list[_Row]]


def read_actions(exchange: str, payload: bytes) -> Iterable[CorporateAction]:
    """Raises ``ValueError`` for what is none."""
    groups = msgspec.json.decode(payload, type=_Answer).corporate_actions
    return [_action(exchange, group, row) for group, rows in sorted(groups.items()) for row in rows]


def _action(exchange: str, group: str, row: _Row) -> CorporateAction:
    kind = "split" if group in _SPLITS else group.removesuffix("s")
    symbol = row.symbol or row.source_symbol or row.acquiree_symbol or row.old_symbol
    day = row.ex_date or row.effective_date or row.process_date
    if not symbol or day is None:
        raise ValueError(f"{group}: a row without symbol or day")
    before, after = _shares(kind, row)
    if kind in ("split", "stock_dividend") and not (before and after and min(before, after) > 0):
        raise ValueError(f"{group}: {symbol} has no rate")
    if kind == "cash_dividend" and row.rate is None:
        raise ValueError(f"{group}: {symbol} has no rate")
    cash = row.rate if kind in _PAID_AT_RATE else row.cash_rate
    new_symbol = row.new_symbol or row.acquirer_symbol
    return CorporateAction(
        exchange,
        row.id or "/".join(filter(None, (kind, symbol, f"{day}", new_symbol))),
        symbol,
        kind,
        day,
        before,
        after,
        cash,
        CURRENCY if cash is not None else "",
        new_symbol,
        record_day=row.record_date,
        pay_day=row.payable_date,
    )


def _shares(kind: str, row: _Row) -> tuple[Decimal | None, Decimal | None]:
    if kind == "stock_dividend":
        return Decimal(1), None if row.rate is None else 1 + row.rate
    if kind == "rights_distribution":
        return Decimal(1), row.rate
    if kind == "spin_off":
        return row.source_rate, row.new_rate
    if kind in ("stock_merger", "stock_and_cash_merger"):
        return row.acquiree_rate, row.acquirer_rate
    return row.old_rate, row.new_rate
