"""`etl topics`: create the topics that are missing."""

from __future__ import annotations

import typer

from etl import settings as settings_module
from etl.sinks.readers import readers
from etl.transports.transport import transport_of

app = typer.Typer()


@app.command()
def topics() -> None:
    """Create the topics that are missing, with the settings' partitions, replication and retention."""
    settings = settings_module.load()
    transport = transport_of(settings)
    transport.ensure_topics()
    for topic, group in readers(settings):
        transport.hold(topic, group)
    for name in (settings.topics.raw, settings.topics.normalized, settings.topics.quarantine):
        print(name)
    print(settings.topics.statistics)
    print(settings.topics.positions)
