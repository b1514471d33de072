"""Fixture files: what a venue sends and exactly what it must give.

``tests/fixtures/exchanges/<feed>[.<part>].jsonl``: a header ``{"source": …, "date": …, "address": …}`` that says
where the frames come from (recorded, documentation example or synthetic), then a line for each frame:

    {"receive_time_ns": 1, "endpoint": "", "frame": "…", "gives": [{"kind": "trade", …}, {"ignored": "…"}]}

``gives`` holds records under the contract's field names without what is empty, ``{"quarantine": CODE}``,
``{"ignored": NAME}``, ``{"reply": TEXT}``, ``{"fault": KIND}``, ``{"connection_sequence": NUMBER}``
``{"book_broken": CHANNEL}``, ``{"behind": CHANNEL}`` and ``{"context": TEXT}``. All frames of a file come on one
connection.
A binary frame stands in the place of ``frame``: as ``protobuf``, its fields by number (``etl/simulator/protobuf.py``),
or as ``binary``, in base64.
``rewrite`` fills ``gives`` with what the parser says today: read the diff before it is committed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from etl.adapter.contract import (
    Behind,
    BookBroken,
    ConnectionSequence,
    Context,
    Exchange,
    Fault,
    Ignored,
    Outcome,
    Rejected,
    Reply,
)
from etl.adapter.series import Contract
from etl.commands.parse import record_item
from etl.exchanges import load
from etl.model.records import Frame, Record, Source
from etl.simulator.protobuf import protobuf

FOLDER = Path(__file__).parent.parent / "fixtures" / "exchanges"
CONNECTION = "fixture"


class FixtureLine(msgspec.Struct):
    frame: str = ""
    gives: list[dict[str, Any]] = []
    receive_time_ns: int = 0
    endpoint: str = ""
    protobuf: dict[str, Any] = {}
    binary: bytes = b""

    @property
    def payload(self) -> bytes:
        return self.binary or (protobuf(self.protobuf) if self.protobuf else self.frame.encode())


def paths() -> list[Path]:
    return sorted(FOLDER.glob("*.jsonl"))


def feed_of(path: Path) -> type[Exchange]:
    return load(path.name.partition(".")[0])


def read(path: Path) -> list[FixtureLine]:
    header, *lines = path.read_bytes().splitlines()
    assert {"source", "date", "address"} <= set(msgspec.json.decode(header)), f"{path}: no header"
    return [msgspec.json.decode(line, type=FixtureLine) for line in lines]


def frame_of(line: FixtureLine, exchange: str, number: int) -> Frame:
    return Frame(
        exchange, CONNECTION, number, line.endpoint, line.receive_time_ns, line.payload, Source.STREAM
    )


def described(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [_described(outcome) for outcome in outcomes]


def _described(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Record):
        item = record_item(outcome)
        del item["exchange"], item["source"], item["connection_id"], item["frame_sequence"]
        return dict(msgspec.json.decode(msgspec.json.encode(item)))
    if isinstance(outcome, Rejected):
        return {"quarantine": str(outcome.code)} | ({"frame_index": outcome.index} if outcome.index else {})
    if isinstance(outcome, Ignored):
        return {"ignored": outcome.name}
    if isinstance(outcome, Reply):
        return {"reply": outcome.payload}
    if isinstance(outcome, ConnectionSequence):
        more = {"scope": outcome.scope, "channels": list(outcome.channels)}
        return {"connection_sequence": outcome.number} | {name: it for name, it in more.items() if it}
    if isinstance(outcome, BookBroken):
        return {"book_broken": outcome.channel, "venue_symbol": outcome.venue_symbol}
    if isinstance(outcome, Behind):
        return {"behind": outcome.channel, "venue_symbol": outcome.venue_symbol}
    if isinstance(outcome, Context):
        return {"context": outcome.text}
    if isinstance(outcome, Contract):
        return {"contract": outcome.venue_symbol, "opens_ns": outcome.opens_ns, "is_over": outcome.is_over}
    assert isinstance(outcome, Fault)
    return {"fault": outcome.kind.value}


def rewrite(path: Path) -> None:
    exchange = feed_of(path)
    parser = exchange()
    header = path.read_bytes().splitlines()[0]
    lines = [header]
    for number, line in enumerate(read(path), 1):
        line.gives = described(parser.parse(frame_of(line, exchange.name, number)))
        origin = {"receive_time_ns": line.receive_time_ns, "endpoint": line.endpoint}
        binary = {"protobuf": line.protobuf, "binary": line.binary}
        known = {name: value for name, value in (origin | binary).items() if value}
        frame = {} if known.keys() & binary.keys() else {"frame": line.frame}
        lines.append(msgspec.json.encode(known | frame | {"gives": line.gives}))
    path.write_bytes(b"\n".join(lines) + b"\n")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        rewrite(Path(name))
