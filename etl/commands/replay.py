"""``etl replay``: the raw frames again, by today's parser and rules; ``etl replay serve``: in the venue's protocol."""

from __future__ import annotations

import json
import ssl
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer()

END_OF_TIME_NS = (1 << 63) - 1
SPEED_MAX = 1_000_000.0


class Into(StrEnum):
    TOPIC = "topic"
    CLICKHOUSE = "clickhouse"


@app.callback(invoke_without_command=True)
def replay(
    context: typer.Context,
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
    if context.invoked_subcommand is not None:
        return
    from etl import exchanges
    from etl import settings as settings_module
    from etl.ingest.replay import replay as replay_frames
    from etl.model.times import parse_ns

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


@app.command()
def serve(
    venues: Annotated[str, typer.Argument(help="one, or several with commas, on one clock")],
    from_: Annotated[str, typer.Option("--from", help="received at or after, ISO 8601")] = "",
    to: Annotated[str, typer.Option("--to", help="received before")] = "",
    speed: Annotated[
        float, typer.Option(help="1 = as received, 10 = ten times that, 0 = as fast as clients read", min=0)
    ] = 1.0,
    archived: Annotated[bool, typer.Option("--archived", help="read the archive, not the raw topic")] = False,
    port: Annotated[int, typer.Option(help="0 = any free one")] = 0,
    certificate: Annotated[
        str, typer.Option(help="PEM: serve wss and https, for clients that refuse less")
    ] = "",
    key: Annotated[str, typer.Option(help="PEM, of the certificate")] = "",
) -> None:
    """Serve the raw frames of VENUES byte for byte, over the venues' own protocols on loopback, until Ctrl-C.

    Sending begins once every venue has a client that subscribed; requests get the answers that were received.
    """
    import asyncio
    import tempfile
    from pathlib import Path

    from etl import exchanges
    from etl import settings as settings_module
    from etl.errors import UsageError
    from etl.ingest.session_file import write_session
    from etl.model.times import parse_ns
    from etl.simulator.pace import Pace
    from etl.simulator.serve import Options
    from etl.simulator.serve import serve as serve_venues
    from etl.telemetry.web_access import require_private

    settings = settings_module.load()
    require_private("etl replay serve", settings)
    names = tuple(exchanges.load(name.strip()).name for name in venues.split(",") if name.strip())
    if speed > SPEED_MAX or (not speed and len(names) != 1):
        raise UsageError(
            f"--speed: up to {SPEED_MAX:g}; 0 for one venue alone, for clients read at paces of their own"
        )
    tls = _tls(certificate, key) if certificate or key else None
    from_ns, to_ns = parse_ns(from_) if from_ else 0, parse_ns(to) if to else END_OF_TIME_NS
    with tempfile.TemporaryDirectory(prefix="etl-replay-") as folder:
        firsts = []
        for name in names:
            written = write_session(settings, name, from_ns, to_ns, archived, Path(folder) / f"{name}.jsonl")
            firsts.append(written.first_ns)
            print(f"{name}: {written.frames:,} frames", flush=True)
        options = Options(
            exchanges=names,
            state_path=Path(folder),
            host=settings.bind_host,
            port=port,
            rate=None if speed else 0.0,
            recordings=Path(folder),
            pace=Pace(names, min(firsts), speed) if speed else None,
            by_stream=True,
            tls=tls,
        )
        asyncio.run(serve_venues(options))


def _tls(certificate: str, key: str) -> ssl.SSLContext:
    """Raises ``UsageError``."""
    from etl.errors import UsageError

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key or None)
    except OSError as error:
        raise UsageError(f"--certificate, --key: {error}") from None
    return context
