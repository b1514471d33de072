"""A schedule of faults: a JSON file, one list of steps.

    [{"at_s": 2, "every_s": 5, "until_s": 60, "exchange": "binance", "kind": "disconnect"},
     {"at_s": 3, "kind": "drop", "count": 4}]

Times are seconds since the venue began to send. A step without ``exchange`` is for every venue; without
``every_s`` it happens once.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from etl.errors import UsageError
from etl.simulator.faults import KINDS, Fault

SECOND = 1_000_000_000


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
        elapsed_s = (now_ns - started_ns) / SECOND
        due: list[Fault] = []
        for number, step in enumerate(self._steps):
            if step.exchange in ("", exchange):
                times = step.times_until(elapsed_s)
                if times > self._done.get((number, exchange), 0):
                    self._done[number, exchange] = times
                    due.append(step)
        return due
