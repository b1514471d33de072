"""The load and the export, again and again beside a bench, as their DAGs would run them, but without rest."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from etl.up import closing

DRAINS: Mapping[str, Sequence[str]] = {"load": ("load", "timescale"), "export": ("export",)}
"""Their names, and the words after ``etl``."""
DRAIN_EVERY_S = 2.0
DRAIN_WITHIN_S = 300.0


class Drains:
    """One that fails because a server is down goes on at the next round."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._locks = {name: asyncio.Lock() for name in DRAINS}
        self._ended: Counter[str] = Counter()

    def begin(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """They run until they are cancelled."""
        return [tasks.create_task(self._again_and_again(name)) for name in DRAINS]

    def resting(self, name: str) -> asyncio.Lock:
        """Held, none of this name runs."""
        return self._locks[name]

    def figures(self) -> dict[str, int]:
        """How many ended well, and how many ``failed``."""
        return dict(sorted(self._ended.items()))

    async def _again_and_again(self, name: str) -> None:
        while True:
            async with self._locks[name]:
                code = await closing.run_command(DRAINS[name], self._environment, DRAIN_WITHIN_S)
            self._ended[f"{name} failed" if code else name] += 1
            await asyncio.sleep(DRAIN_EVERY_S)
