"""BSE (Bombay): end-of-day bars of the cash segment, out of files that the user has. https://www.bseindia.com/markets/MarketInfo/BhavCopy.aspx

As ``nse.py``; a security is its scrip code (``500325``), because its short name changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from etl.exchanges._bhavcopy import UDIFF_FROM, BhavcopyExchange, Layout
from etl.model.records import Kind


class Bse(BhavcopyExchange):
    name = "bse"
    changes: ClassVar[Mapping[str, str]] = {
        "2024-07-08": "files in the layout UDiFF, as plain CSV; the former one until 2024-07-05",
        "2026-08-03": "`ClsPric` is BSE's own close, `SttlmPric` near that of NSE",
    }
    symbol_column = "FinInstrmId"
    market = "XBOM"
    former = Layout(
        "SC_CODE", "SC_GROUP", "TRADING_DATE", ("OPEN", "HIGH", "LOW", "CLOSE"), "NO_OF_SHRS", "NET_TURNOV",
        "NO_TRADES",
        ("SC_CODE", "SC_NAME", "SC_GROUP", "SC_TYPE", "OPEN", "HIGH", "LOW", "CLOSE", "LAST", "PREVCLOSE", "NO_TRADES",
         "NO_OF_SHRS", "NET_TURNOV", "TDCLOINDI"),
    )  # fmt: skip

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        folder = "/download/BhavCopy/Equity"
        if day >= UDIFF_FROM:
            return f"{folder}/BhavCopy_BSE_CM_0_0_0_{day.replace('-', '')}_F_0000.CSV"
        year, month, number = day.split("-")
        return f"{folder}/EQ{number}{month}{year[2:]}_CSV.ZIP"

    @classmethod
    def named(cls, symbol: str, series: str) -> tuple[str, str]:
        return symbol, f"{symbol}-INR"
