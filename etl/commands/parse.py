"""``etl parse VENUE [FILE]``: what the live parser makes of frames, as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from io import BufferedReader
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

import msgspec
import typer

from etl import settings as settings_module
from etl.adapter.contract import Exchange, Ignored
from etl.adapter.versions import parser_at
from etl.errors import UsageError
from etl.exchanges import load
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.observer import Observer
from etl.model.records import RECORD_TYPES, Frame, Gap, Quarantined, Record, Severity, Source
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity
from etl.settings import Settings, make
from etl.sources.recording import frames, read_lines
from etl.transports.memory import Nowhere
from etl.validation.statistics import SymbolStatistics

OUTPUT_BYTES = 1 << 18
NOTHING = "nothing"
BLANK_LINE = "blank_line"

_NO_FRAME = Frame("", "", 0, "", 0, b"")

app = typer.Typer()


@app.command()
def parse(
    venue: Annotated[str, typer.Argument(help="binance, binance_usdm, polygon, alpaca, …")],
    file: Annotated[
        str, typer.Argument(help="Frames, one a line, or a recording; gzipped or not; - is standard input")
    ] = "-",
    records_only: Annotated[
        bool, typer.Option("--records-only", help="Leave out what was quarantined or ignored")
    ] = False,
    statistics: Annotated[
        str, typer.Option(help="What etl statistics show --json printed: checks that need it are made too")
    ] = "",
) -> None:
    """What a worker's loop makes of frames, by the same code: parsed, checked, followed, encoded; as JSON lines."""
    settings = settings_module.load()
    known = _read_statistics(statistics) if statistics else ()
    with _open(file) as source:
        write(lines(load(venue), source, records_only, settings, known), sys.stdout.buffer)


def _read_statistics(file: str) -> list[SymbolStatistics]:
    with _open(file) as source:
        try:
            return msgspec.json.Decoder(SymbolStatistics).decode_lines(source.read())
        except msgspec.DecodeError as error:
            raise UsageError(f"{file}: {error}") from None


def _open(file: str) -> BufferedReader:
    if file == "-":
        return cast(BufferedReader, sys.stdin.buffer)
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None


def write(output: Iterator[dict[str, Any]], file: BinaryIO) -> None:
    encode = msgspec.json.Encoder().encode_into
    buffer = bytearray()
    for item in output:
        try:
            encode(item, buffer, -1)
        except UnicodeEncodeError:
            encode(_printable(item), buffer, -1)
        buffer += b"\n"
        if len(buffer) >= OUTPUT_BYTES:
            file.write(buffer)
            buffer.clear()
    file.write(buffer)
    file.flush()


def lines(
    exchange: type[Exchange],
    source: BufferedReader,
    records_only: bool = False,
    settings: Settings | None = None,
    statistics: Sequence[SymbolStatistics] = (),
) -> Iterator[dict[str, Any]]:
    """One item for each event, at least one for each line of ``source``. The file is taken for one connection, whose
    parser its first frame chooses."""
    items: _Items | None = None
    number = 0
    for frame in frames(read_lines(source), exchange.name):
        if items is None:
            items = _Items(settings or make(), parser_at(exchange, frame.receive_time_ns))
            items.learn(statistics)
        number = frame.frame_sequence
        for item in items.of(frame):
            if not records_only or "kind" in item:
                yield {"line": number} | item
    for item in items.at_end() if items else ():
        yield {"line": number} | item


class _Items(Observer):
    """What the worker's loop makes of a frame, as it comes; the topics go nowhere."""

    listens = True

    def __init__(self, settings: Settings, exchange: type[Exchange]) -> None:
        self._continuity = Continuity(exchange, declares_start=False, window=Window(least_ns=0))
        self._feed = Feed(settings, exchange, Nowhere(), self._continuity)
        self._intake = open_intake(self._feed, exchange(), "", "", Source.REPLAY, observer=self)
        self._items: list[dict[str, Any]] = []
        self._frame = _NO_FRAME

    def learn(self, statistics: Iterable[SymbolStatistics]) -> None:
        own = [item for item in statistics if item.exchange == self._feed.exchange.name]
        self._feed.learn(own)

    def of(self, frame: Frame) -> Sequence[dict[str, Any]]:
        if not frame.payload.strip():
            return ({"ignored": BLANK_LINE},)
        self._items, self._frame = [], frame
        self._intake.parse(frame)
        self._intake.publish_released()
        return self._items or ({"ignored": NOTHING},)

    def at_end(self) -> Sequence[dict[str, Any]]:
        return [record_item(gap) for gap in self._continuity.decide()]

    def admits(self, event: Record | Quarantined) -> bool:
        if isinstance(event, Gap):
            self._items.append(record_item(event))
        elif isinstance(event, Quarantined) and event.severity is Severity.HARD:
            self._items.append(_quarantined(self._frame, event.code, event.reason))
        return True

    def judged(self, record: Record, is_good: bool) -> None:
        if is_good:
            self._items.append(record_item(record))

    def ignored(self, event: Ignored) -> None:
        self._items.append({"ignored": event.name})


def _quarantined(frame: Frame, code: str, reason: str) -> dict[str, Any]:
    return {"quarantine": str(code), "reason": reason, "frame": frame.payload.decode("utf-8", "replace")}


def record_item(record: Record) -> dict[str, Any]:
    """``record`` under the contract's field names, enums in lower case, without what is empty."""
    plan = _PLANS[type(record)]
    item: dict[str, Any] = {"kind": plan.kind}
    for name, value in zip(plan.names, plan.values(record), strict=True):
        if value:
            item[name] = value
        elif value == 0 and name in _ZERO_IS_A_VALUE:
            item[name] = 0
    for name in plan.enums:
        if name in item:
            item[name] = item[name].name.lower()
    return item


class _Plan:
    """How a record type is laid out: found once, not per record."""

    def __init__(self, record_type: type[Record]) -> None:
        fields = msgspec.inspect.type_info(record_type).fields  # type: ignore[attr-defined]
        self.kind = record_type.kind.name.lower()
        self.names = [field.name for field in fields]
        self.values = attrgetter(*self.names)
        self.enums = [field.name for field in fields if isinstance(field.type, msgspec.inspect.EnumType)]


_PLANS = {record_type: _Plan(record_type) for record_type in RECORD_TYPES}
_ZERO_IS_A_VALUE = frozenset(
    ("frame_index", "sequence", "first_sequence", "previous_sequence", "from_sequence", "to_sequence")
)


def _printable(value: Any) -> Any:
    """``value`` with lone surrogates, which garbled JSON can hold, replaced: no UTF-8 can carry them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list | tuple) else value
