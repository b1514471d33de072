"""Binance's archive of daily files: a zip with one CSV in it, and beside it ``<name>.CHECKSUM`` with its SHA-256.

    /data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip
    /data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-01.zip

Times of spot files are in ms up to the end of 2024, in µs since; those of futures in ms, behind a line of headings.
https://github.com/binance/binance-public-data
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

PREFIX = "/data/"
CHECKSUM = ".CHECKSUM"
DAY_NS = 86_400_000_000_000
SPOT_MICROSECONDS_FROM_NS = 1_735_689_600_000_000_000
_PATH = re.compile(
    r"/data/(?:spot|futures/um)/daily/(?P<kind>trades|aggTrades|klines)/(?P<symbol>\w+)/(?:(?P<interval>\w+)/)?"
    r"(?P<name>(?P=symbol)-\w+-(?P<day>\d{4}-\d\d-\d\d))\.zip"
)
HEADINGS = {
    "trades": "id,price,qty,quote_qty,time,is_buyer_maker",
    "aggTrades": "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker",
    "klines": "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,"
    "taker_buy_quote_volume,ignore",
}


class File(Struct, frozen=True):
    """What a path asks for: ``kind`` as the path spells it, ``interval`` of bars, all of the day from ``start_ns``."""

    kind: str
    symbol: str
    interval: str
    name: str
    start_ns: int


def file_of(path: str) -> File | None:
    """The file that ``path``, or the path of its checksum, names."""
    found = _PATH.fullmatch(path.removesuffix(CHECKSUM))
    if found is None:
        return None
    day = datetime.fromisoformat(found["day"]).replace(tzinfo=UTC)
    start_ns = int(day.timestamp()) * 1_000_000_000
    return File(found["kind"], found["symbol"], found["interval"] or "", found["name"], start_ns)


def zipped(file: File, lines: Iterable[str]) -> bytes:
    """The same bytes for the same lines."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        entry = zipfile.ZipInfo(f"{file.name}.csv")
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, "".join(f"{line}\n" for line in lines))
    return made.getvalue()


def unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (name,) = archive.namelist()
        return archive.read(name)


def checksum(file: File, content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {file.name}.zip\n".encode()
