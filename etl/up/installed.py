"""What this installation can start. Kafka's jars and the TimescaleDB engine come by ``make setup`` in a checkout and
are in no wheel; Airflow is an extra. ``etl up`` says what it takes in their place."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from rich.console import Console

from etl.embedded.kafka import has_jars
from etl.embedded.timescale import has_engine
from etl.errors import UsageError
from etl.settings import Settings, changed, make
from etl.up.plan import servers
from etl.up.profiles import with_profile

WHAT: Mapping[str, str] = {"kafka": "Kafka's jars", "timescale": "the TimescaleDB engine"}


def lacking(settings: Settings) -> tuple[str, ...]:
    """The servers that would be started and cannot be."""
    is_here = {"kafka": has_jars(), "timescale": has_engine()}
    return tuple(part.name for part in servers(settings) if not is_here.get(part.name, True))


def fitted(settings: Settings, profile: str, transport: str) -> tuple[Settings, str, str]:
    """Settings, profile, and a line that says what was taken in whose place ("" = nothing).

    Without the jars it is the light profile, without the engine alone the other stores; never in the place of a
    ``profile``, ``transport`` or stores that were chosen. Raises ``UsageError`` for a server that is not here then.
    """
    line = ""
    missing = lacking(settings)
    if missing and not profile and transport != "kafka":
        if "kafka" in missing:
            profile = "light"
            settings = with_profile(settings, profile)
            instead = "--profile light, topics in Valkey"
        elif settings.stores == make().stores:
            settings = changed(settings, stores=tuple(s for s in settings.stores if s != "timescale"))
            instead = f"--stores {','.join(settings.stores)}"
        if not lacking(settings):
            line = f"not here, for make setup of a checkout fetches them: {_named(missing)}; so {instead}"
    if still := lacking(settings):
        raise UsageError(
            f"not here: {_named(still)}; run make setup in a checkout, name a server"
            f" ({', '.join(f'ETL_{name.upper()}_URL' for name in still)}) or leave them out (--profile light)"
        )
    return settings, profile, line


def runs_airflow(wanted: bool | None, console: Console) -> bool:
    """Whether Airflow is run; said if it is not, and nobody has said so. Raises ``UsageError`` if it is wanted and not
    installed."""
    is_here = find_spec("airflow") is not None
    if wanted and not is_here:
        raise UsageError("--airflow: it is not installed; pip install 'etl[airflow]'")
    if wanted is None and not is_here:
        said = "Airflow is not installed (etl[airflow]): its jobs run by the small scheduler"
        console.print(said, highlight=False, soft_wrap=True, markup=False)
    return is_here if wanted is None else wanted


def _named(missing: tuple[str, ...]) -> str:
    return " and ".join(WHAT[name] for name in missing)
