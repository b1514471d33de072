"""Prints of four markets and the vintages of a macro series, for the query over all of them; the lake of
docs/notebooks/one_schema.ipynb.

``python -m tests.support.one_schema`` makes it anew."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from etl.model.records import SizeUnit, Trade
from etl.model.times import NS_PER_S, as_ns
from etl.settings import make
from tests.support import fred, stream
from tests.support.lake import complete_until, export_records

PLACE = Path(__file__).parents[2] / "docs" / "notebooks" / "one_schema_lake"
AT_NS = as_ns("2026-11-30T12:00:00")
PRINTS = [
    ("polygon", "AAPL", "268.15", -2), ("polygon", "AAPL", "268.21", -1), ("polygon", "AAPL", "999", 1),
    ("polygon", "MSFT", "512", -1), ("polygon_options", "AAPL261218C00250000", "21.4", -60),
    ("polygon_options", "MSFT261218C00500000", "30", -1), ("binance", "BTC-USDT", "91234.56", -1),
    ("kalshi", "KXFED-26DEC-T3.75", "0.62", -30),
]  # fmt: skip
"""Exchange, symbol, price, seconds from the time that is asked for: the last of AAPL comes too late."""
ONE_SCHEMA = [
    ("AAPL", "268.21", "AAPL261218C00250000", "21.4", "BTC-USDT", "91234.56", "KXFED-26DEC-T3.75", "0.62", "UNRATE"),
]  # fmt: skip
"""What stood at ``AT_NS``."""
UNITS = {"polygon": SizeUnit.SHARE, "polygon_options": SizeUnit.CONTRACT, "kalshi": SizeUnit.CONTRACT}


def prints() -> Sequence[Trade]:
    return [
        stream.trade(
            number, exchange, AT_NS + seconds * NS_PER_S, symbol=symbol, venue_symbol=symbol, last_price=price,
            record_key=str(number), key_time_ns=AT_NS + seconds * NS_PER_S, volume="1",
            size_unit=UNITS.get(exchange, SizeUnit.BASE),
        )
        for number, (exchange, symbol, price, seconds) in enumerate(PRINTS)
    ]  # fmt: skip


def make_lake() -> None:
    shutil.rmtree(PLACE, ignore_errors=True)
    settings = make(lake_url=str(PLACE))
    vintages, _, _ = fred.backfilled("UNRATE", fred.simulated())
    series = [structs.replace(one, connection_id=stream.CONNECTION) for one in vintages]
    export_records(settings, [*prints(), *series])
    complete_until(settings, AT_NS + 60 * NS_PER_S)


if __name__ == "__main__":
    make_lake()
