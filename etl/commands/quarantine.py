"""``etl quarantine list | show | replay``: what was held back, why, and publishing what is good today."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from etl import settings as settings_module
from etl.errors import UsageError, WireError
from etl.ingest import gap_ledger as gaps
from etl.ingest.quarantine import Selection, read_items, replay
from etl.model.records import Gap, Quarantined, Severity
from etl.model.times import parse_ns
from etl.settings import Settings
from etl.transports.transport import transport_of
from etl.wire import codec

app = typer.Typer(no_args_is_help=True, help=__doc__)

Exchange = Annotated[str, typer.Option("--exchange", help="only this venue")]
Code = Annotated[str, typer.Option("--code", help="only this code; docs/validation.md lists them")]
From = Annotated[
    str, typer.Option("--from", help="received at or after, ISO 8601, UTC where it names no zone")
]
To = Annotated[str, typer.Option("--to", help="received before")]
AsJson = Annotated[bool, typer.Option("--json")]


@app.command("list")
def list_items(
    exchange: Exchange = "",
    code: Code = "",
    from_: From = "",
    to: To = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """One line an item, the newest last; the counts by code and outcome close the list."""
    items = read_items(settings_module.load(), _selection(exchange, code, from_, to))
    counts = Counter((item.code, item.outcome.name.lower()) for item in items)
    for item in items[-limit:]:
        if as_json:
            print(json.dumps(_summary(item)))
        else:
            print(
                f"{_time(item.receive_time_ns)}  {item.exchange:<12} {item.severity.name.lower():<4} "
                f"{item.code:<24} {item.symbol:<12} {_reference(item)}  {item.reason}"
            )
    if not as_json:
        for (name, outcome), count in sorted(counts.items()):
            print(f"{count:>8}  {name}  {outcome}")


@app.command()
def show(reference: str, as_json: AsJson = False) -> None:
    """Everything about one item: REFERENCE is connection/frame/index as ``list`` prints it."""
    wanted = [
        item for item in read_items(settings_module.load(), Selection()) if _reference(item) == reference
    ]
    if not wanted:
        raise UsageError(f"{reference}: no such item; `etl quarantine list` prints the references")
    for item in wanted:
        full = {**_summary(item), "frame": item.payload.decode("utf-8", "replace"), "record": _record(item)}
        if as_json:
            print(json.dumps(full))
        else:
            for name, value in full.items():
                print(f"{name:>16}  {value}")


@app.command("replay")
def replay_items(
    exchange: Exchange = "",
    code: Code = "",
    from_: From = "",
    to: To = "",
    as_json: AsJson = False,
) -> None:
    """Parse and check again by today's parser and rules; publish what is good now. Idempotent."""
    counts = replay_selected(exchange, code, from_, to)
    print(
        json.dumps(counts) if as_json else "  ".join(f"{k} {v}" for k, v in counts.items()) or "nothing held"
    )


def replay_selected(exchange: str, code: str, from_: str, to: str) -> dict[str, int]:
    """Replay what the texts select, as the command and the DAG are given them; items by outcome."""
    settings = settings_module.load()
    items = read_items(settings, _selection(exchange, code, from_, to))
    outcomes = replay(
        items, transport_of(settings).publisher(), settings, time.time_ns(), _gaps_of(settings, items)
    )
    return {outcome.name.lower(): count for outcome, count in sorted(outcomes.items())}


def _gaps_of(settings: Settings, items: Sequence[Quarantined]) -> list[Gap]:
    """What the ledger knows of the venues of ``items``."""
    venues = {item.exchange for item in items if item.severity is Severity.HARD}
    return [gap for name in sorted(venues) for gap in gaps.read_gaps(settings, gaps.Selection(exchange=name))]


def _selection(exchange: str, code: str, from_: str, to: str) -> Selection:
    return Selection(exchange=exchange, code=code, from_time_ns=_bound(from_), to_time_ns=_bound(to))


def _bound(text: str) -> int:
    return parse_ns(text) if text else 0


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _reference(item: Quarantined) -> str:
    return f"{item.connection_id}/{item.frame_sequence}/{item.frame_index}"


def _summary(item: Quarantined) -> dict[str, Any]:
    return {
        "reference": _reference(item),
        "exchange": item.exchange,
        "symbol": item.symbol,
        "code": item.code,
        "severity": Severity(item.severity).name.lower(),
        "rule": item.rule,
        "reason": item.reason,
        "outcome": item.outcome.name.lower(),
        "endpoint": item.endpoint,
        "receive_time_ns": item.receive_time_ns,
        "parser_version": item.parser_version,
    }


def _record(item: Quarantined) -> Any:
    try:
        return msgspec.to_builtins(codec.decode(item.record)) if item.record else None
    except WireError as error:
        return str(error)
