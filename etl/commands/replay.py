"""``etl replay``: the raw frames again, by today's parser and rules."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer

from etl import exchanges
from etl import settings as settings_module
from etl.ingest.replay import replay as replay_frames
from etl.model.times import parse_ns

app = typer.Typer()

END_OF_TIME_NS = (1 << 63) - 1


class Into(StrEnum):
    TOPIC = "topic"
    CLICKHOUSE = "clickhouse"


@app.command()
def replay(
    from_: Annotated[
        str, typer.Option("--from", help="received at or after, ISO 8601; all if not given")
    ] = "",
    to: Annotated[str, typer.Option("--to", help="received before")] = "",
    venue: Annotated[str, typer.Option(help="only this venue; else every venue of the settings")] = "",
    store: Annotated[
        Into, typer.Option(help="the topic, which every store drains, or straight into ClickHouse")
    ] = Into.TOPIC,
    archived: Annotated[bool, typer.Option("--archived", help="read the archive, not the raw topic")] = False,
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Parse the raw frames again and publish what it gives, under the same identities: nothing is stored twice."""
    settings = settings_module.load()
    venues = (exchanges.load(venue).name,) if venue else settings.venues.names
    frames, records = replay_frames(
        settings,
        venues,
        parse_ns(from_) if from_ else 0,
        parse_ns(to) if to else END_OF_TIME_NS,
        archived=archived,
        into_clickhouse=store is Into.CLICKHOUSE,
    )
    counts = {"frames": frames, "records": records}
    print(json.dumps(counts) if as_json else f"{frames:,} frames, {records:,} records")
