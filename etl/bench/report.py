"""What every benchmark says of itself: machine, versions, repeated runs, median and spread."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

VERSIONED = ("confluent-kafka", "chdb", "msgspec", "picows", "protobuf", "pyarrow", "numpy", "uvloop")


def machine() -> dict[str, Any]:
    """Cores, processor, memory in GiB, how many processes wanted a core in the last five minutes, Python and the
    packages that a figure depends on."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(memory_bytes / (1 << 30), 1),
        "load": round(os.getloadavg()[1], 1),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in VERSIONED},
    }


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Median, least and greatest of the runs."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def percentiles(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """p50, p95, p99 and p99.9 by nearest rank; empty input gives none."""
    ordered = sorted(values)
    ranks = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}
    return {
        name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], digits)
        for name, share in ranks.items()
        if ordered
    }


def best_seconds(run: Callable[[], object], timer: Callable[[], float], repeats: int) -> list[float]:
    """Seconds of each of ``repeats`` runs, after one that warms up."""
    run()
    seconds = []
    for _ in range(repeats):
        start = timer()
        run()
        seconds.append(timer() - start)
    return seconds


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def print_result(name: str, result: Mapping[str, Any], as_json: bool) -> None:
    """A table for a person on standard error; with ``--json`` one object as the last line of standard output."""
    full = {"bench": name, **result, "machine": machine()}
    for key, value in result.items():
        say(f"{key:>28}  {value}")
    if as_json:
        print(json.dumps(full), flush=True)


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()
