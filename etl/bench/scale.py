"""``etl bench scale``: one worker, then two, up to the cores of the machine, each with its own feed and topics.

What is to be shown is that workers cost each other nothing: the sum of their events a second grows with their number
as long as there are cores, and what an event costs stays what it is. Feeds and the one broker need cores too, so that
the rate bends before the number of cores is reached; the cost must not.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import Annotated, Any

import typer

from etl.bench.feed import frames
from etl.bench.ingest import TOUCHED, Bench, Measured
from etl.bench.report import print_result, say
from etl.embedded.kafka import kafka_part
from etl.embedded.supervisor import Supervisor
from etl.errors import UsageError
from etl.simulator import recording
from etl.up.plan import child_environment

app = typer.Typer()


@app.command()
def main(
    as_json: Annotated[bool, typer.Option("--json")] = False,
    workers: Annotated[int, typer.Option(min=0, help="At most; 0 = the cores of this machine.")] = 0,
    events: Annotated[int, typer.Option(min=20_000, help="Of each worker in one run.")] = 300_000,
    repeats: Annotated[int, typer.Option(min=1)] = 3,
) -> None:
    most = workers or len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="etl-bench-") as folder:
        result = asyncio.run(Scale(Path(folder), events, repeats).grown(most))
    print_result("scale", result, as_json)


class Scale(Bench):
    """Workers side by side, each like one of ``etl bench ingest``."""

    async def grown(self, workers_max: int) -> dict[str, Any]:
        """Raises ``EtlError``."""
        path = recording.shipped("binance")
        if path is None:
            raise UsageError("the shipped session of binance is not in this installation")
        mix = frames.recorded(path, TOUCHED)
        async with Supervisor(
            [kafka_part(self._settings)], child_environment(self._settings), self._settings.state_path
        ) as supervisor:
            await supervisor.all_ready()
            feed = await asyncio.to_thread(self._write, mix, self._events)
            steps = {}
            for count in _counts(workers_max):
                runs = []
                for _ in range(self._repeats):
                    runs.append(
                        await asyncio.gather(*(self._worker(feed, TOUCHED, True) for _ in range(count)))
                    )
                    say(f"{count} workers: {_rate(runs[-1]):,.0f}/s, {_cost(runs[-1]):.2f} CPU s per million")
                steps[str(count)] = {
                    "events_per_s": round(median(map(_rate, runs))),
                    "cpu_s_per_million": round(median(map(_cost, runs)), 2),
                    "rss_mib": round(max(each.rss_mib for run in runs for each in run), 1),
                }
        first, last = steps["1"], steps[str(workers_max)]
        return {
            "events_per_worker": self._events,
            "runs": self._repeats,
            "steps": steps,
            "workers_max": workers_max,
            "one": first,
            "all": last,
            "growth": round(last["events_per_s"] / first["events_per_s"], 2),
            "cost_ratio": round(last["cpu_s_per_million"] / first["cpu_s_per_million"], 2),
        }


def _counts(workers_max: int) -> list[int]:
    """1, 2, 4 … and the most."""
    doubled = [1 << power for power in range(workers_max.bit_length()) if 1 << power <= workers_max]
    return sorted({*doubled, workers_max})


def _rate(run: Sequence[Measured]) -> float:
    return sum(each.events_per_s for each in run)


def _cost(run: Sequence[Measured]) -> float:
    return mean(each.cpu_s_per_million for each in run)
