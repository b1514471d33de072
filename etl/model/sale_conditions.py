"""What a trade's conditions keep it from: setting high and low, setting open and close, adding to the volume. Pure.

One table for candles and audit. The lake reads it here; ClickHouse and TimescaleDB have it as the view
``sale_conditions``, written down in a migration and held to it by ``tests/sinks/test_sale_conditions.py``. A condition
that is not in it keeps a trade from nothing.

Sources: the CTA and UTP participant specifications and https://polygon.io/docs/stocks/get_v3_reference_conditions.
Stricter than these on purpose: prints that may set only high and low (late, derivatively or prior-reference priced) do
not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

from etl.model.records import SizeUnit, Trade


class SaleCondition(Struct, frozen=True):
    """``polygon``, ``cta`` (tapes A and B) and ``utp`` (tape C) are its codes among shares, ``other`` those of all
    else. No such print sets a price; only those with ``adds_volume`` count as trades."""

    name: str
    polygon: tuple[str, ...] = ()
    cta: tuple[str, ...] = ()
    utp: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    adds_volume: bool = True
    extended_hours: bool = False
    """Outside of regular hours, where nearly every print is so: sets prices in a minute in which none else does."""


SALE_CONDITIONS = (
    SaleCondition("average price", ("2",), ("B", "W"), ("W",)),
    SaleCondition("bunched sold", ("5",), ("G",), ("G",)),
    SaleCondition("cash sale", ("7",), ("C",), ("C",)),
    SaleCondition("derivatively priced", ("10",), ("4",), ("4",)),
    SaleCondition("form T", ("12",), ("T",), ("T",), extended_hours=True),
    SaleCondition("extended hours, sold out of sequence", ("13",), ("U",), ("U",)),
    SaleCondition("market center official close", ("15",), ("M",), ("M",), adds_volume=False),
    SaleCondition("market center official open", ("16",), ("Q",), ("Q",), adds_volume=False),
    SaleCondition("next day", ("20",), ("N",), ("N",)),
    SaleCondition("price variation", ("21",), ("H",), ("H",)),
    SaleCondition("prior reference price", ("22",), ("P",), ("P",)),
    SaleCondition("seller", ("29",), ("R",), ("R",)),
    SaleCondition("sold out of sequence", ("32", "33"), ("Z",), ("Z",)),
    SaleCondition("odd lot", ("37",), ("I",), ("I",)),
    SaleCondition("corrected consolidated close", ("38",), ("9",), ("9",), adds_volume=False),
    SaleCondition("contingent", ("52",), ("V",), ("V",)),
    SaleCondition("qualified contingent", ("53",), ("7",), ("7",)),
    SaleCondition("insurance fund", other=("INSURANCE_FUND",), adds_volume=False),
    SaleCondition("auto-deleveraging", other=("ADL",), adds_volume=False),
)
"""Binance's candles and aggregate trades hold market trades only, neither the insurance fund's nor ADL."""

VOCABULARIES = ("polygon", "cta", "utp", "other")


def rows() -> Iterator[tuple[str, str, bool, bool]]:
    """(vocabulary, code, adds_volume, extended_hours), as in the stores."""
    for vocabulary in VOCABULARIES:
        for condition in SALE_CONDITIONS:
            for code in getattr(condition, vocabulary):
                yield vocabulary, code, condition.adds_volume, condition.extended_hours


class Effect(Struct, frozen=True):
    """What a print may set."""

    sets_price: bool
    sets_extended_price: bool
    """For want of prints that set one."""
    adds_volume: bool


def effect_of(trade: Trade) -> Effect:
    """As ``trades_corrected`` of the stores has it."""
    return _effect(_vocabulary(trade), trade.conditions) if trade.conditions else _ALL


def _vocabulary(trade: Trade) -> str:
    if trade.size_unit is not SizeUnit.SHARE:
        return "other"
    if trade.exchange.startswith("polygon"):
        return "polygon"
    return "utp" if trade.tape == "C" else "cta"


@lru_cache(maxsize=4096)
def _effect(vocabulary: str, conditions: tuple[str, ...]) -> Effect:
    found = [
        (adds_volume, extended)
        for known, code, adds_volume, extended in rows()
        if known == vocabulary and code in conditions
    ]
    return Effect(
        sets_price=not found,
        sets_extended_price=bool(found) and all(extended for _, extended in found),
        adds_volume=all(adds_volume for adds_volume, _ in found),
    )


_ALL = Effect(sets_price=True, sets_extended_price=False, adds_volume=True)


def values() -> str:
    """The rows as SQL."""
    return ",\n".join(
        f"    ('{vocabulary}', '{code}', {adds_volume}, {extended})".replace("True", "true").replace(
            "False", "false"
        )
        for vocabulary, code, adds_volume, extended in rows()
    )
