"""``etl up``: the whole platform on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from etl.settings import Settings
    from etl.settings.sections import Venues

app = typer.Typer()

RUNS_KEPT = 3
"""State directories of reconciling runs that stay for a look; older ones are removed at the next run."""


@app.command()
def up(  # long: its options are 28 lines
    venues: Annotated[str, typer.Option(help="Comma-separated; default: binance,polygon,alpaca")] = "",
    live: Annotated[bool, typer.Option("--live", help="The venues themselves, not their simulators")] = False,
    recordings: Annotated[
        Path | None, typer.Option(help="Serve the recordings in this directory", exists=True, file_okay=False)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Events per second of all simulated venues", min=0)
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Serve recordings again and again; so without --duration")
    ] = False,
    duration: Annotated[float, typer.Option(help="Seconds of streaming, then stop; 0 = for ever", min=0)] = 0,
    report: Annotated[Path | None, typer.Option(help="Reconcile, and write the report here (JSON)")] = None,
    airflow: Annotated[
        bool | None,
        typer.Option("--airflow/--no-airflow", help="Or the small scheduler; default: if it is installed"),
    ] = None,
    profile: Annotated[str, typer.Option(help="light: for a small machine; docs/deployment.md")] = "",
    stores: Annotated[str, typer.Option(help="Of clickhouse, timescale and lake; default: all")] = "",
    gateway: Annotated[
        bool | None, typer.Option(help="Records for programs and pages; default: unless --profile light")
    ] = None,
    transport: Annotated[
        str, typer.Option(help="kafka or redis: which embedded broker; default: as the settings say")
    ] = "",
    state: Annotated[Path | None, typer.Option(help="State directory; default: var")] = None,
) -> None:
    """Start every part, print the addresses, show what flows; stop on Ctrl-C or after the duration.

    With a duration every store catches up at the end and is reconciled with what the venues sent; the exit code
    is 1 unless nothing was lost or doubled. Such a run has a state directory of its own unless --state is given.
    """
    import asyncio

    from rich.console import Console

    from etl import settings as settings_module
    from etl.up.installed import runs_airflow
    from etl.up.profiles import with_profile
    from etl.up.running import RunOptions, run

    console = Console()
    with_airflow = runs_airflow(airflow, console)
    settings = with_profile(settings_module.load(), profile)
    changes: dict[str, object] = {
        "venues": venues or settings.venues.names,
        "live": live or settings.venues.live,
        "recordings_dir": str(recordings.resolve()) if recordings else settings.venues.recordings_dir,
        "simulator_rate": settings.simulator.rate if rate is None else rate,
        # without an end, a recording that ends would leave a mute venue behind
        "simulator_loop": loop or settings.simulator.loop or not duration,
        "state_dir": str(state or settings.state_dir),
        "transport_url": _transport_url(transport, settings.transport.url),
        "stores": stores or settings.stores,
        "watch_airflow": with_airflow and settings.monitor.airflow,
    }
    settings, profile = _fitted(settings_module.changed(settings, **changes), profile, transport, console)
    _check(settings, duration, report)
    if duration and state is None and not settings.venues.live:
        settings = settings_module.changed(settings, state_dir=_fresh_state(settings.state_path / "runs"))
    with_gateway = profile != "light" if gateway is None else gateway
    options = RunOptions(
        with_airflow=with_airflow, with_gateway=with_gateway, duration_s=duration, report=report
    )
    raise typer.Exit(asyncio.run(run(settings, options, console)))


def _fitted(settings: Settings, profile: str, transport: str, console: Console) -> tuple[Settings, str]:
    """Settings and profile as this installation can run them, and what that changed said. Raises ``UsageError``."""
    from etl.up.installed import fitted

    settings, profile, line = fitted(settings, profile, transport)
    if line:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    return settings, profile


def _check(settings: Settings, duration: float, report: Path | None) -> None:
    """Raises ``UsageError`` for what does not go together."""
    from etl.errors import UsageError

    settings.check()
    if report and not duration:
        raise UsageError("--report needs --duration: a run without an end is never reconciled")
    if report and settings.venues.live:
        raise UsageError("--report needs the simulators: nobody can say what a live venue has sent")
    if not settings.metrics.port:
        raise UsageError("ETL_METRICS_PORT=0: etl up reads what its parts do from their metrics")
    _check_venues(settings.venues)


def _transport_url(transport: str, url: str) -> str:
    """Raises ``UsageError``."""
    from etl.errors import UsageError

    if transport not in ("", "kafka", "redis"):
        raise UsageError(f"--transport {transport}: kafka or redis")
    return {"": url, "kafka": "", "redis": "redis"}[transport]


def _check_venues(venues: Venues) -> None:
    """Raises ``UsageError`` for an unknown venue, and for a missing key of a live one."""
    from etl import exchanges
    from etl.errors import UsageError
    from etl.sources.access import credentials

    if not venues.names:
        raise UsageError("--venues: name at least one")
    for venue in venues.names:
        credentials(exchanges.load(venue), venues.live)


def _fresh_state(runs: Path) -> str:
    """A new directory under ``runs``, named by the time; all but the newest others are removed."""
    import shutil
    from datetime import UTC, datetime

    from etl.embedded.state_lock import is_in_use

    for old in sorted(runs.glob("20*"))[: -RUNS_KEPT + 1]:
        if not is_in_use(old):
            shutil.rmtree(old)
    fresh = runs / datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
    fresh.mkdir(parents=True)
    return str(fresh)
