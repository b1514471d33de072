"""Splits, dividends, mergers and spin-offs, as the vendors tell them, into ``corporate_actions`` of every store.

What vendors say is kept side by side, a row of each; ``differences`` tells where they disagree. Adjusted prices are
views (``bars_adjusted``), whose factors are computed of these rows and never a vendor's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal

from msgspec import Struct

from etl.adapter.contract import Request
from etl.errors import VenueError
from etl.exchanges import load as load_exchange
from etl.model.records import Kind
from etl.model.reference import CORPORATE_ACTIONS, CorporateAction
from etl.reference.recorded import read, record
from etl.settings import Settings
from etl.sources.access import VenueAccess

DAYS_BACK = 60
"""What vendors correct lies within; and more than the days that the statistics look back."""
DAYS_AHEAD = 14
PAGES_MAX = 1_000
COMPARED = frozenset({"split", "stock_dividend", "cash_dividend"})
"""The kinds that both vendors tell."""


class Difference(Struct, frozen=True):
    """What two vendors say of one stock, day and kind; "" = nothing."""

    symbol: str
    effective_day: date
    action_kind: str
    said: dict[str, str]


def refresh_all(
    settings: Settings, today: date, now_ns: int, days_back: int = DAYS_BACK
) -> dict[str, dict[str, int]]:
    """``refresh`` for each of the settings' venues that tells of actions: rows added by store, by venue."""
    exchanges = [load_exchange(venue) for venue in settings.venues.names]
    return {
        exchange.name: refresh(
            settings, VenueAccess.from_settings(settings, exchange), today, now_ns, days_back
        )
        for exchange in exchanges
        if exchange.actions_paths
    }


def refresh(
    settings: Settings, access: VenueAccess, today: date, now_ns: int, days_back: int = DAYS_BACK
) -> dict[str, int]:
    """Fetch the actions around ``today`` and add what is new of them; returns how many rows each store got.

    Raises ``VenueError`` for an answer that is none, and ``StoreError``."""
    exchange = access.exchange
    first, last = today - timedelta(days=days_back), today + timedelta(days=DAYS_AHEAD)
    requests = [
        Request(path.format(from_day=first, to_day=last), Kind.STATUS, "") for path in exchange.actions_paths
    ]
    found = asyncio.run(_fetch(access, requests))

    def is_told(row: CorporateAction) -> bool:
        return exchange.actions_by_effective_day and first <= row.effective_day <= last

    return record(settings, CORPORATE_ACTIONS, found, [exchange.name], now_ns, is_told)


def known(settings: Settings, exchanges: Sequence[str]) -> list[CorporateAction]:
    """What holds now, by symbol and day. Raises ``StoreError``."""
    found = read(settings, CORPORATE_ACTIONS, exchanges, CorporateAction)
    return sorted(found, key=lambda row: (row.symbol, row.effective_day, row.exchange, row.action_id))


def differences(actions: Iterable[CorporateAction], first: str, second: str) -> list[Difference]:
    """Where the vendors ``first`` and ``second`` do not say the same of a stock's day."""
    said: dict[tuple[str, date, str], dict[str, list[CorporateAction]]] = {}
    for one in actions:
        if one.action_kind in COMPARED and one.exchange in (first, second):
            place = said.setdefault((one.symbol, one.effective_day, one.action_kind), {})
            place.setdefault(one.exchange, []).append(one)
    return [
        Difference(*place, {vendor: _text(of.get(vendor, ())) for vendor in (first, second)})
        for place, of in sorted(said.items())
        if _worth(of.get(first, ())) != _worth(of.get(second, ()))
    ]


def _worth(actions: Sequence[CorporateAction]) -> list[tuple[object, ...]]:
    """Without regard to their order."""
    return sorted((_ratio(one), one.cash_amount or Decimal(), one.currency) for one in actions)


def _ratio(action: CorporateAction) -> Decimal:
    """1:4 and 0.5:2 are the same; 0 = there is none."""
    before, after = action.shares_before, action.shares_after
    return after / before if before and after else Decimal()


def _text(actions: Sequence[CorporateAction]) -> str:
    return "; ".join(
        f"{one.shares_before}:{one.shares_after}"
        if one.shares_after is not None
        else f"{one.cash_amount} {one.currency}"
        for one in actions
    )


async def _fetch(access: VenueAccess, requests: Iterable[Request]) -> list[CorporateAction]:
    """Every page; of two rows of one id the later."""
    found: dict[str, CorporateAction] = {}
    async with access:
        for first in requests:
            async for page in access.history.pages(first, PAGES_MAX):
                try:
                    rows = access.exchange.read_actions(page.payload)
                    found |= {row.action_id: row for row in rows}
                except ValueError as error:
                    raise VenueError(
                        f"{access.exchange.name}: not a list of corporate actions: {error}"
                    ) from None
    return list(found.values())
