"""``etl parse VENUE [FILE]``: what the live parser makes of frames, as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from io import BufferedReader
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, BinaryIO, cast

import msgspec
import typer

from etl.adapter.contract import Exchange, Ignored, Rejected
from etl.errors import UsageError
from etl.exchanges import load
from etl.model.records import RECORD_TYPES, Frame, Record, Severity
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity
from etl.sources.recording import frames, read_lines
from etl.validation import Checker

OUTPUT_BYTES = 1 << 18
NOTHING = "nothing"
BLANK_LINE = "blank_line"

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
) -> None:
    """Parse, check and follow the sequence of frames, exactly as live, into JSON lines on standard output."""
    exchange = load(venue)
    with _open(file) as source:
        write(lines(exchange, source, records_only), sys.stdout.buffer)


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


def lines(exchange: type[Exchange], source: BufferedReader, records_only: bool) -> Iterator[dict[str, Any]]:
    """One item for each event, at least one for each line of ``source``."""
    reading = _Reading(exchange)
    number = 0
    for frame in frames(read_lines(source), exchange.name):
        number = frame.frame_sequence
        for item in reading.items(frame):
            if not records_only or "kind" in item:
                yield {"line": number} | item
    for gap in reading.continuity.decide():
        yield {"line": number} | record_item(gap)


class _Reading:
    """What a connection's worker does with a frame, without the topics."""

    def __init__(self, exchange: type[Exchange]) -> None:
        self.continuity = Continuity(exchange, declares_start=False, window=Window(least_ns=0))
        self._parser = exchange()
        self._checker = Checker(exchange, judge_lateness=False)

    def items(self, frame: Frame) -> Sequence[dict[str, Any]]:
        if not frame.payload.strip():
            return ({"ignored": BLANK_LINE},)
        items: list[dict[str, Any]] = []
        for outcome in self._parser.parse(frame):
            if isinstance(outcome, Record):
                items += self._checked(outcome, frame)
            elif isinstance(outcome, Rejected):
                items.append(_quarantined(frame, outcome.code, outcome.reason))
            elif isinstance(outcome, Ignored):
                items.append({"ignored": outcome.name})
        return items or ({"ignored": NOTHING},)

    def _checked(self, record: Record, frame: Frame) -> Iterator[dict[str, Any]]:
        findings = self._checker.check(record)
        hard = next((finding for finding in findings if finding.severity is Severity.HARD), None)
        gaps = self.continuity.quarantined(record) if hard else self.continuity.observe(record)
        yield from map(record_item, gaps)
        if hard:
            yield _quarantined(frame, hard.code, hard.reason)
            return
        if findings:
            record = msgspec.structs.replace(record, flags=(*record.flags, *(item.code for item in findings)))
        yield record_item(record)


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
