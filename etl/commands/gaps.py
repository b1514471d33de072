"""``etl gaps list | show | repair | summary``: what is known to be missing, and what became of it."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from etl import settings as settings_module
from etl.errors import UsageError
from etl.ingest.gap_ledger import Selection, read_gaps, repair_gaps
from etl.ingest.gap_ledger import summary as read_summary
from etl.ingest.gap_rounds import by_name
from etl.ingest.look_again import look_again
from etl.model.records import Gap, GapKind, GapState

app = typer.Typer(no_args_is_help=True, help=__doc__)

Venue = Annotated[str, typer.Option("--venue", help="only this one")]
Symbol = Annotated[str, typer.Option("--symbol", help="unified, or the venue's")]
Kind = Annotated[str, typer.Option("--kind", help="disconnect, sequence, stale, overflow, start, …")]
State = Annotated[str, typer.Option("--state", help="open, repaired, source_hole, unrepairable")]
AsJson = Annotated[bool, typer.Option("--json")]


@app.command("list")
def list_gaps(
    venue: Venue = "",
    symbol: Symbol = "",
    kind: Kind = "",
    state: State = "",
    limit: Annotated[int, typer.Option(min=1)] = 50,
    as_json: AsJson = False,
) -> None:
    """One line a gap, the newest last; the counts by kind and state close the list."""
    gaps = read_gaps(settings_module.load(), _selection(venue, symbol, kind, state))
    for gap in gaps[-limit:]:
        print(json.dumps(_fields(gap)) if as_json else _line(gap))
    if not as_json:
        counts = Counter((gap.gap_kind.name.lower(), gap.gap_state.name.lower()) for gap in gaps)
        for (kind_name, state_name), count in sorted(counts.items()):
            print(f"{count:>8}  {kind_name}  {state_name}")


@app.command()
def show(key: str, venue: Venue = "", symbol: Symbol = "", as_json: AsJson = False) -> None:
    """Everything about one gap: KEY as ``list`` prints it."""
    gaps = read_gaps(settings_module.load(), Selection(exchange=venue, symbol=symbol, key=key))
    if not gaps:
        raise UsageError(f"{key}: no such gap; `etl gaps list` prints the keys")
    for gap in gaps:
        if as_json:
            print(json.dumps(_fields(gap)))
        else:
            for name, value in _fields(gap).items():
                print(f"{name:>16}  {value}")


@app.command()
def repair(venue: Venue = "", symbol: Symbol = "", kind: Kind = "", as_json: AsJson = False) -> None:
    """Ask the venues' histories once for every open gap, and for what backfills found not published yet. Idempotent:
    what is there already stays as it is."""
    settings = settings_module.load()
    settled = repair_gaps(settings, read_gaps(settings, _selection(venue, symbol, kind, "open")))
    for gap in settled:
        if not as_json:
            print(_line(gap))
    states = Counter(gap.gap_state for gap in settled)
    if kind in ("", GapKind.SOURCE_HOLE.name.lower()):
        states += look_again(settings, time.time_ns(), venue, symbol, any_time=True)
    counts = by_name(states)
    if as_json:
        print(json.dumps(counts))
    else:
        print("  ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "no gap is open")


@app.command()
def summary(as_json: AsJson = False) -> None:
    """Per venue and day: events, gaps per million, share repaired, latency, coverage."""
    rows = read_summary(settings_module.load())
    for row in rows:
        if as_json:
            print(json.dumps(row))
        else:
            print("  ".join(f"{name} {value}" for name, value in row.items()))


def _selection(venue: str, symbol: str, kind: str, state: str) -> Selection:
    for text, names in ((kind, GapKind), (state, GapState)):
        known = [member.name.lower() for member in names if member]
        if text and text not in known:
            raise UsageError(f"{text}: there are {', '.join(known)}")
    return Selection(exchange=venue, symbol=symbol, kind=kind, state=state)


def _fields(gap: Gap) -> dict[str, Any]:
    return {
        "exchange": gap.exchange,
        "symbol": gap.symbol,
        "channel": gap.channel,
        "key": gap.record_key,
        "kind": gap.gap_kind.name.lower(),
        "state": gap.gap_state.name.lower(),
        "from_sequence": gap.from_sequence,
        "to_sequence": gap.to_sequence,
        "from_time_ns": gap.from_time_ns,
        "to_time_ns": gap.to_time_ns,
        "detected_ns": gap.detected_time_ns,
        "settled_ns": gap.receive_time_ns,
        "attempts": gap.attempts,
        "repaired_rows": gap.repaired_rows,
        "reason": gap.reason,
    }


def _line(gap: Gap) -> str:
    ids = "" if gap.from_sequence is None else f"ids {gap.from_sequence}-{gap.to_sequence or ''}  "
    seconds = (gap.to_time_ns - gap.from_time_ns) / 1e9 if gap.to_time_ns and gap.from_time_ns else 0.0
    return (
        f"{_time(gap.event_time_ns)}  {gap.exchange:<12} {gap.symbol:<12} {gap.gap_kind.name.lower():<11}"
        f"{gap.gap_state.name.lower():<12} {gap.record_key}  {ids}{seconds:.3f} s  "
        f"{gap.attempts} attempts, {gap.repaired_rows} rows  {gap.reason}"
    )


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")
