"""`etl topics`: create the topics that are missing."""

from __future__ import annotations

import typer

from etl import settings as settings_module
from etl.transports.kafka import ensure_topics

app = typer.Typer()


@app.command()
def topics() -> None:
    """Create the topics that are missing, with the settings' partitions, replication and retention."""
    settings = settings_module.load()
    ensure_topics(settings)
    for name in (settings.topics.raw, settings.topics.normalized, settings.topics.quarantine):
        print(name)
    print(settings.topics.statistics)
    print(settings.topics.positions)
