"""``etl statistics refresh | show``: what is normal for each symbol, as the checks on ingestion see it."""

from __future__ import annotations

import json
import time
from typing import Annotated

import msgspec
import typer

from etl import settings as settings_module
from etl.reference.symbol_statistics import refresh as refresh_statistics
from etl.reference.symbol_statistics import show as newest

app = typer.Typer(no_args_is_help=True, help=__doc__)

AsJson = Annotated[bool, typer.Option("--json")]


@app.command()
def refresh(as_json: AsJson = False) -> None:
    """Compute the statistics in ClickHouse and publish them; running workers learn them without restart."""
    count = refresh_statistics(settings_module.load(), time.time_ns())
    print(json.dumps({"symbols": count}) if as_json else f"{count} symbols")


@app.command()
def show(as_json: AsJson = False) -> None:
    """The newest published statistics, a line a symbol."""
    for item in newest(settings_module.load()):
        if as_json:
            print(json.dumps(msgspec.to_builtins(item)))
        else:
            print(
                f"{item.exchange:<14} {item.symbol:<16} close {item.close:g}  return {item.return_mean:+.4%} "
                f"± {item.return_deviation:.4%}  {item.days} days"
            )
