"""A schedule of faults: a JSON file, one list of steps.

    [{"at_s": 2, "every_s": 5, "until_s": 60, "exchange": "binance", "kind": "disconnect"},
     {"at_s": 3, "kind": "drop", "count": 4}]

Times are seconds since the venue began to send. A step without ``exchange`` is for every venue; without
``every_s`` it happens once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from etl.errors import UsageError
from etl.model.times import NS_PER_S
from etl.simulator.faults import KINDS
from etl.simulator.frame_faults import Fault
from etl.simulator.venues import make_venue


class Step(Fault, frozen=True, forbid_unknown_fields=True, kw_only=True):
    at_s: float
    every_s: float = 0.0
    until_s: float = 0.0
    exchange: str = ""

    def times_until(self, elapsed_s: float) -> int:
        """How often this step should have happened by then."""
        if elapsed_s < self.at_s:
            return 0
        if not self.every_s:
            return 1
        last_s = min(elapsed_s, self.until_s) if self.until_s else elapsed_s
        return max(0, int((last_s - self.at_s) / self.every_s) + 1)


class Scenario:
    def __init__(self, steps: list[Step]) -> None:
        self._steps = steps
        self._done: dict[tuple[int, str], int] = {}

    @classmethod
    def read(cls, path: Path) -> Scenario:
        """Raises ``UsageError`` that says what is wrong with the file."""
        try:
            steps = msgspec.json.decode(path.read_bytes(), type=list[Step])
        except (OSError, msgspec.DecodeError) as error:
            raise UsageError(f"scenario {path}: {error}") from None
        unknown = {step.kind for step in steps} - set(KINDS)
        if unknown:
            raise UsageError(f"scenario {path}: no such fault {', '.join(sorted(unknown))}")
        return cls(steps)

    def due(self, exchange: str, started_ns: int, now_ns: int) -> list[Fault]:
        """The faults whose time has come for ``exchange`` since the last call; each once."""
        if not started_ns:
            return []
        elapsed_s = (now_ns - started_ns) / NS_PER_S
        due: list[Fault] = []
        for number, step in enumerate(self._steps):
            if step.exchange in ("", exchange):
                times = step.times_until(elapsed_s)
                if times > self._done.get((number, exchange), 0):
                    self._done[number, exchange] = times
                    due.append(step)
        return due


_EVERYWHERE = (
    "duplicate",
    "delay",
    "reorder",
    "unknown_type",
    "shutdown",
    "too_many",
    "rest_error",
    "page_cut",
)


def every_fault(duration_s: float, disconnects: int, exchanges: Sequence[str]) -> list[Step]:
    """Every kind of fault at least once, and ``disconnects`` in all, spread over ``duration_s``.

    The last tenth is quiet, so that what was asked for last can be repaired.
    """
    steps = [
        Step(kind="disconnect", exchange=exchanges[number % len(exchanges)], at_s=at_s)
        for number, at_s in enumerate(_spread(0.05, 0.9, disconnects, duration_s))
    ]
    orders: list[dict[str, Any]] = [
        {"kind": kind, "exchange": name} for kind in _EVERYWHERE for name in exchanges
    ]
    for name in exchanges:
        # a frame that is dropped on a channel without contiguous ids is known to nobody but the truth: there, whole
        # connections are lost instead
        counted = [channel for channel, facts in make_venue(name).channels.items() if facts.is_counted]
        if counted:
            orders += [
                {"kind": kind, "exchange": name, "channel": channel, "count": 2}
                for kind in ("drop", "garble", "cut")
                for channel in counted
            ]
            orders += [
                {"kind": kind, "exchange": name, "count": 3} for kind in ("wrong_sequence", "sequence_reset")
            ]
            orders += [{"kind": kind, "exchange": name} for kind in ("rate_limit", "ban", "rest_timeout")]
        else:
            orders += [{"kind": kind, "exchange": name} for kind in ("garble", "cut", "connection_limit")]
        orders += [{"kind": "mute", "exchange": name, "duration_s": 0}]
        orders += [{"kind": "clock_skew", "exchange": name, "delay_s": 2.0}]
        orders += [{"kind": "flood", "exchange": name, "count": 5}]
        orders += [{"kind": "auth_failure", "exchange": name}]
    times = _spread(0.08, 0.9, len(orders), duration_s)
    return steps + [Step(at_s=at_s, **order) for at_s, order in zip(times, orders, strict=True)]


def _spread(start: float, end: float, count: int, duration_s: float) -> list[float]:
    """``count`` times at equal distances between two shares of the duration."""
    return [round(duration_s * (start + (end - start) * n / max(1, count)), 3) for n in range(count)]
