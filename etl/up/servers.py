"""The embedded servers alone, for what needs them while the platform does not run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from etl.embedded.part import Part
from etl.embedded.state_lock import is_in_use
from etl.embedded.supervisor import Supervisor
from etl.settings import Settings
from etl.up.plan import child_environment, servers

UNNEEDED = "mailbox"

Result = TypeVar("Result")


def with_servers(settings: Settings, work: Callable[[], Result]) -> Result:
    """What ``work`` gives, beside the servers: those of a running `etl up`, or else started for it and ended after.

    Raises ``PartError`` and whatever ``work`` raises."""
    planned = [part for part in servers(settings) if part.name != UNNEEDED]
    if not planned or is_in_use(settings.state_path):
        return work()
    return asyncio.run(_beside(planned, settings, work))


async def _beside(planned: list[Part], settings: Settings, work: Callable[[], Result]) -> Result:
    environment = child_environment(settings)
    settings.state_path.mkdir(parents=True, exist_ok=True)
    async with Supervisor(planned, environment, settings.state_path, settings.bind_host) as supervisor:
        await supervisor.all_ready()
        return await asyncio.to_thread(work)
