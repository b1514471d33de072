"""``etl simulate VENUE``: a venue on loopback, with its truth on file and its faults on command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etl import settings

app = typer.Typer()


@app.command()
def simulate(
    venues: Annotated[
        str, typer.Argument(help="simulated venues, or any that has a recording; several with commas")
    ],
    port: Annotated[int | None, typer.Option(help="0 = any free one; default: the venue's own place")] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="events/s of each venue, 0 = all that clients can read; default: its share"),
    ] = None,
    recorded_pace: Annotated[bool, typer.Option("--recorded-pace", help="a recording's own pace")] = False,
    seed: Annotated[int | None, typer.Option(help="of a synthetic session")] = None,
    recordings: Annotated[Path | None, typer.Option(help="directory of recorded sessions")] = None,
    session: Annotated[str, typer.Option(help="one recorded session, 'shipped' or 'synthetic'")] = "",
    duration: Annotated[float, typer.Option(help="seconds of sending, 0 = until stopped")] = 0.0,
    loop: Annotated[bool, typer.Option(help="repeat a recording with later ids and times")] = False,
    truth: Annotated[Path | None, typer.Option(help="default: <state_dir>/truth/<venue>.jsonl")] = None,
    scenario: Annotated[Path | None, typer.Option(help="JSON file of scheduled faults")] = None,
) -> None:
    """Serve VENUES over their real protocols on loopback."""
    import asyncio

    from etl.simulator.serve import Options, serve
    from etl.telemetry.web_access import require_private

    values = settings.load()
    require_private("etl simulate", values)
    exchanges = tuple(part.strip() for part in venues.split(",") if part.strip())
    if rate is None and values.simulator.rate and not recorded_pace:
        rate = values.simulator.rate / max(1, len(values.venues.names))
    if port is None:
        known = exchanges[0] in values.venues.names
        port = values.simulator_port_of(exchanges[0]) if known else values.simulator.port
    directory = recordings or (Path(values.venues.recordings_dir) if values.venues.recordings_dir else None)
    options = Options(
        exchanges=exchanges,
        state_path=values.state_path,
        host=values.bind_host,
        port=port,
        rate=rate,
        seed=values.simulator.seed if seed is None else seed,
        recordings=directory,
        session=session or ("" if directory else "shipped"),
        loop=loop or values.simulator.loop,
        duration_s=duration,
        truth_path=truth,
        scenario=scenario,
        # the default port is left to the worker that listens to this simulator
        metrics_port=values.metrics.port if values.metrics.port != settings.Settings().metrics.port else 0,
    )
    asyncio.run(serve(options))
