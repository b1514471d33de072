"""``etl transport copy | groups | forget``: moving topics to another broker, and who holds them."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.command()
def copy(
    source: Annotated[str, typer.Option("--from", help="kafka://host:port or redis[s]://…")],
    target: Annotated[str, typer.Option("--to", help="redis[s]://…")],
) -> None:
    """Copy every topic with offsets, ids and commits; again, and it goes on. Docs/deployment.md has the steps."""
    import time

    from etl import settings as settings_module
    from etl.transports.redis_copy import copy_topics

    settings = settings_module.load()
    here, there = (settings_module.changed(settings, transport_url=url) for url in (source, target))
    here.transport.check()
    there.transport.check()
    said_s = 0.0

    def progress(topic: str, partition: int, offset: int, end: int) -> None:
        nonlocal said_s
        if offset == end or time.monotonic() - said_s > 1.0:
            said_s = time.monotonic()
            print(f"{topic}-{partition}: {offset:,} of {end:,}", flush=True)

    copied = copy_topics(here, there, progress)
    print(
        f"{copied.messages:,} messages and {copied.commits} commits copied; {copied.left_out} commits were ahead"
    )


@app.command()
def groups() -> None:
    """Who reads which topic, how many messages behind; on Redis none is let go that a group has not read."""
    from etl import settings as settings_module
    from etl.transports.transport import transport_of

    for lag in transport_of(settings_module.load()).backlogs(timeout_s=10.0):
        print(f"{lag.group:<32} {lag.topic}-{lag.partition}  {lag.messages:,} behind")


@app.command()
def forget(group: Annotated[str, typer.Argument(help="as `etl transport groups` prints it")]) -> None:
    """Let go of what GROUP holds on Redis, for one that reads no more: if it comes back, it begins anew."""
    from etl import settings as settings_module
    from etl.errors import UsageError
    from etl.transports.redis_retention import forget_group_everywhere

    settings = settings_module.load()
    if not settings.transport.over_redis:
        raise UsageError("only on Redis does a group hold anything; Kafka lets go by age")
    topics = forget_group_everywhere(settings, group)
    print(f"{group} holds nothing any more of {', '.join(topics)}")
