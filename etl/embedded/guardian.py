"""Outlives a supervisor that was killed, and ends what it left running.

``python -m etl.embedded.guardian RUN_DIR``: reads standard input, a pipe that only the supervisor holds open;
its end is the supervisor's end. Holds the lock of the state directory until the sweep is over.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from etl.embedded import sessions

SWEEP_STOP_WITHIN_S = 10.0


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(sys.stdin.fileno(), 1):
        pass
    sessions.sweep(Path(sys.argv[1]), SWEEP_STOP_WITHIN_S)


if __name__ == "__main__":
    main()
