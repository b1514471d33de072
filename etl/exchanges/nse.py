"""National Stock Exchange of India: end-of-day bars of the cash segment, out of files that the user has.
https://www.nseindia.com/all-reports

The files are asked for below ``ETL_ARCHIVE_URL``, a folder (``file:///data/nse``) or an address, under the exchange's
own paths. Whether one may fetch, keep or pass on these files is between the user and the exchange. Prices are as
traded, in rupees. A day's bar begins at midnight in India. That there is a file is the proof of a session: every day is
asked for; one without a file is a hole where the calendar has trading, also at a weekend.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from etl.exchanges._bhavcopy import UDIFF_FROM, BhavcopyExchange, Layout
from etl.model.records import Kind

ROLLING = "EQ"
"""The series that a symbol alone means."""
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]


class Nse(BhavcopyExchange):
    name = "nse"
    changes: ClassVar[Mapping[str, str]] = {
        "2024-07-08": "files in the layout UDiFF; the former one until 2024-07-05",
        "2026-08-03": "the close of shares with derivatives is the price of an auction",
    }
    calendar = "XNSE"
    market = "XNSE"
    former = Layout(
        "SYMBOL", "SERIES", "TIMESTAMP", ("OPEN", "HIGH", "LOW", "CLOSE"), "TOTTRDQTY", "TOTTRDVAL", "TOTALTRADES",
        ("SYMBOL", "SERIES", "OPEN", "HIGH", "LOW", "CLOSE", "LAST", "PREVCLOSE", "TOTTRDQTY", "TOTTRDVAL", "TIMESTAMP",
         "TOTALTRADES", "ISIN", ""),
    )  # fmt: skip

    def archive_path(self, kind: Kind, venue_symbol: str, day: str) -> str:
        if day >= UDIFF_FROM:
            return f"/content/cm/BhavCopy_NSE_CM_0_0_0_{day.replace('-', '')}_F_0000.csv.zip"
        year, month, number = day.split("-")
        name = MONTHS[int(month) - 1]
        return f"/content/historical/EQUITIES/{year}/{name}/cm{number}{name}{year}bhav.csv.zip"

    @classmethod
    def named(cls, symbol: str, series: str) -> tuple[str, str]:
        suffix = "" if series == ROLLING else f"-{series}"
        return f"{symbol}.{series}", f"{symbol}-INR{suffix}"
