"""``python -m etl.bench.crash_at POINT COMMAND…``: an ``etl`` command that kills itself where it reaches ``POINT``."""

from __future__ import annotations

import os
import runpy
import signal
import sys
from collections.abc import Sequence

from etl import crash

MODULE = "etl.bench.crash_at"


def command_with(command: Sequence[str], point: str) -> list[str]:
    """``command``, a ``python -m etl …``, as one that dies at ``point``."""
    python, flag, module, *words = command
    assert (flag, module) == ("-m", "etl"), command
    return [python, "-m", MODULE, point, *words]


def main() -> None:
    point = sys.argv.pop(1)
    crash.hook(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
    runpy.run_module("etl", run_name="__main__")


if __name__ == "__main__":
    main()
