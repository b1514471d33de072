"""A wall clock that steps, injected into an ``etl`` command: ``python -m etl.bench.toxics.clock FILE COMMAND…``.

What the command's own code reads with ``time.time`` and ``time.time_ns`` is off by the nanoseconds in FILE, at once
when they change; monotonic clocks and libraries in C go on as they are. Not libfaketime: with its monotonic clock left
alone ``time.sleep`` fails, and else a step moves the monotonic clock too, which no real one does
(docs/decisions/chaos.md).
"""

from __future__ import annotations

import contextlib
import mmap
import runpy
import struct
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

MODULE = "etl.bench.toxics.clock"
OFFSET = struct.Struct("q")


class Clock:
    """That of one part, kept in ``file``; true but when it is ``stepped``."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._step(0.0)

    @contextlib.asynccontextmanager
    async def stepped(self, seconds: float) -> AsyncIterator[str]:
        """Within it, it is so far from the true time. Gives ""."""
        self._step(seconds)
        try:
            yield ""
        finally:
            self._step(0.0)

    def _step(self, seconds: float) -> None:
        with self._file.open("r+b" if self._file.exists() else "wb") as file:
            file.write(OFFSET.pack(int(seconds * 1e9)))

    def command_with(self, command: Sequence[str]) -> list[str]:
        """``command``, a ``python -m etl …``, as one that goes by this clock."""
        python, flag, module, *words = command
        assert (flag, module) == ("-m", "etl"), command
        return [python, "-m", MODULE, str(self._file), *words]


def inject(file: Path) -> None:
    """Before anything else is imported that might keep ``time.time_ns`` for itself."""
    with file.open("rb") as opened:
        offset = mmap.mmap(opened.fileno(), OFFSET.size, prot=mmap.PROT_READ)
    true_ns = time.time_ns

    def stepped_ns() -> int:
        moved_ns: int = OFFSET.unpack_from(offset)[0]
        return true_ns() + moved_ns

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() * 1e-9


def main() -> None:
    inject(Path(sys.argv.pop(1)))
    runpy.run_module("etl", run_name="__main__")


if __name__ == "__main__":
    main()
