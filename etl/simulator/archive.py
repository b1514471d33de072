"""A venue's archive of daily and monthly files: a zip with one CSV in it, or a gzipped CSV; beside it
``<name>.CHECKSUM`` with its SHA-256, where the venue's client asks for one.

    /data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip
    /data/futures/um/daily/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01-01.zip
    /data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2025-01.zip          from the first Monday of the next month on

Times of Binance's spot files are in ms up to the end of 2024, in µs since; those of futures in ms, behind a line of
headings. https://github.com/binance/binance-public-data
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from etl.model.times import NS_PER_DAY, NS_PER_MS, NS_PER_S, NS_PER_US, interval_ns
from etl.simulator.history import PRINTS, FactKind
from etl.simulator.session import Session
from etl.simulator.truth import IGNORED, TruthEvent
from etl.simulator.venue import Response, Venue
from etl.simulator.words import WORDS, Form

CHECKSUM = ".CHECKSUM"
MICROSECONDS_FROM_NS = 1_735_689_600_000_000_000
NO_SUCH_FILE = Response(404, b"<Error><Code>NoSuchKey</Code></Error>")
HEADING = TruthEvent(IGNORED, "csv_header", "")

WORDS_OF_LINES = WORDS | {
    "at": lambda words: words["time_ns"] // words["unit_ns"],
    "last_at": lambda words: (words.fact.end_ns - 1) // words["unit_ns"],
    "Maker": lambda words: words["maker"].capitalize(),
}


class Archive(Struct, frozen=True):
    """What the files of a venue hold, by the kind in their path (the group ``kind`` of ``path``, which also has
    ``symbol``, ``interval``, ``day`` and the ``name`` of the file). ``headings`` = "" for files without."""

    lines: Mapping[str, Form]
    path: str = (
        r"/data/(?:spot|futures/um)/(?:daily|monthly)/(?P<kind>trades|aggTrades|klines)/(?P<symbol>\w+)/(?:(?P<interval>\w+)/)?"
        r"(?P<name>(?P=symbol)-\w+-(?P<day>\d{4}-\d\d(?:-\d\d)?))\.zip"
    )
    headings: Mapping[str, str] = {}
    day_ns: int = 0
    """When a file's day begins, against midnight UTC."""
    is_finer: bool = False
    """Whether times are in µs from 2025 on."""


class File(Struct, frozen=True):
    """What a path asks for: ``kind`` as the path spells it, ``interval`` of bars, all of [start_ns, end_ns), which is
    there from ``published_ns`` on."""

    kind: str
    symbol: str
    interval: str
    name: str
    start_ns: int
    end_ns: int
    published_ns: int


def file_of(archive: Archive, path: str) -> File | None:
    """The file that ``path``, or the path of its checksum, names."""
    found = re.fullmatch(archive.path, path.removesuffix(CHECKSUM))
    if found is None:
        return None
    said = {"interval": "", **{name: text or "" for name, text in found.groupdict().items()}}
    text = said.pop("day")
    is_month = len(text) == len("2025-01")
    start = datetime.fromisoformat(f"{text}-01" if is_month else text).replace(tzinfo=UTC)
    end = (start + timedelta(days=32)).replace(day=1) if is_month else start + timedelta(days=1)
    published = end + timedelta(days=-end.weekday() % 7) if is_month else end
    times = (int(moment.timestamp()) * NS_PER_S + archive.day_ns for moment in (start, end, published))
    return File(said["kind"], said["symbol"], said["interval"], said["name"], *times)


def answer(venue: Venue, archive: Archive, path: str, session: Session) -> Response:
    """A file or its checksum. A day is published when it is over: of the days before the session."""
    file = file_of(archive, path)
    if file is None or file.published_ns > session.history.past_end_ns:
        return NO_SUCH_FILE
    kind: FactKind = interval_ns(file.interval) if file.interval else PRINTS
    entries = session.history.between(file.symbol, kind, file.start_ns, file.end_ns, 0, NS_PER_DAY)
    is_finer = archive.is_finer and file.start_ns >= MICROSECONDS_FROM_NS
    unit_ns = NS_PER_US if is_finer else NS_PER_MS
    form = archive.lines[file.kind]
    lines, events = venue.rows(form, file.symbol, entries, unit_ns=unit_ns, interval=file.interval)
    if archive.headings:
        lines.insert(0, archive.headings[file.kind])
        events.insert(0, HEADING)
    content = gzipped(lines) if path.endswith(".gz") else zipped(file, lines)
    if path.endswith(CHECKSUM):
        return Response(200, checksum(file, content), is_reference=True)
    return Response(200, content, events, lines=[line.encode() for line in lines])


def zipped(file: File, lines: Iterable[str]) -> bytes:
    """The same bytes for the same lines."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        entry = zipfile.ZipInfo(f"{file.name}.csv")
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, "".join(f"{line}\n" for line in lines))
    return made.getvalue()


def gzipped(lines: Iterable[str]) -> bytes:
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def checksum(file: File, content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {file.name}.zip\n".encode()
