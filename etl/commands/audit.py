"""``etl audit run | findings | suppress``: rows that were not validated on ingestion, found by set-based checks."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.audit import findings as kept
from etl.audit.nightly import audit, mail_of
from etl.errors import UsageError
from etl.monitoring.mail import send
from etl.stores.timescale import session

app = typer.Typer(no_args_is_help=True, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json")]
Day = Annotated[str, typer.Option("--day", help="UTC day, YYYY-MM-DD; yesterday if not given")]


@app.command()
def run(
    day: Day = "",
    mail: Annotated[bool, typer.Option("--mail", help="mail the summary")] = False,
    expectations: Annotated[bool, typer.Option(help="also run Great Expectations")] = True,
    as_json: AsJson = False,
) -> None:
    """Audit one day; exit code 0 also with findings: they are kept in audit_findings."""
    settings = settings_module.load()
    report = audit(settings, _day(day), expectations)
    if mail:
        send(mail_of(report, settings), settings)
    if as_json:
        print(json.dumps(msgspec.to_builtins(report)))
    else:
        print(mail_of(report, settings).text)


@app.command()
def findings(
    day: Day = "",
    state: Annotated[str, typer.Option(help="open, suppressed or resolved; empty = all")] = "open",
    as_json: AsJson = False,
) -> None:
    """What is known, newest day first."""
    with session(settings_module.load()) as connection:
        for item in kept.findings(connection, _day(day) if day else None, state):
            if as_json:
                print(json.dumps(msgspec.to_builtins(item)))
            else:
                print(
                    f"{item.day}  {item.state:<10} {item.nights:>3} nights  {item.check_name} "
                    f"({item.store}, {item.table_name})  {item.key}: {item.detail}"
                )


@app.command()
def suppress(
    reason: Annotated[str, typer.Option(help="why it is not to be told")],
    days: Annotated[int, typer.Option(min=1, max=366, help="expires after so many days")],
    check: Annotated[str, typer.Option(help="only this check")] = "",
    table: Annotated[str, typer.Option(help="only this table")] = "",
    key_prefix: Annotated[str, typer.Option(help="only keys that start so: 'binance BTC-USDT'")] = "",
    from_day: Annotated[str, typer.Option(help="only findings of this day or later")] = "",
    to_day: Annotated[str, typer.Option(help="only findings of this day or earlier")] = "",
) -> None:
    """Silence what matches, until it expires."""
    if not (check or table or key_prefix):
        raise UsageError("a suppression names at least a check, a table or a key prefix")
    rule = kept.Suppression(
        reason=reason,
        expires=datetime.now(UTC) + timedelta(days=days),
        check_name=check,
        table_name=table,
        key_prefix=key_prefix,
        from_day=_day(from_day) if from_day else None,
        to_day=_day(to_day) if to_day else None,
    )
    with session(settings_module.load()) as connection:
        kept.suppress(connection, rule)


def _day(text: str) -> date:
    if not text:
        return datetime.now(UTC).date() - timedelta(days=1)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text}: not a day such as 2026-01-31") from None
