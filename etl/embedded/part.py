"""Part: what the supervisor runs, and the probes that tell when one is ready."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from etl.errors import EtlError

PROBE_TIMEOUT_S = 2.0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def always_ready() -> bool:
    return True


class Part(Struct, frozen=True, kw_only=True):
    """A foreground process that ends on SIGTERM.

    ``command`` and ``environment`` are read at each start; the latter is added to the supervisor's own and to the
    settings' variables. ``ports`` maps
    the name of the setting to the port that must be free before the start. ``metrics_port`` is where the part serves
    its Prometheus metrics, 0 = nowhere. ``ready`` is a quick probe without side effects, called from a thread every
    fraction of a second; it returns False or raises ``OSError`` while the part is not ready. A part that
    ``runs_once`` (migrations) is ready when it has ended with code 0, within ``ready_within_s``.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = {}
    ports: Mapping[str, int] = {}
    metrics_port: int = 0
    depends_on: tuple[str, ...] = ()
    ready: Callable[[], bool] = always_ready
    ready_within_s: float = 60.0
    stop_within_s: float = 10.0
    runs_once: bool = False


def tcp_ready(host: str, port: int) -> Callable[[], bool]:
    """A probe that holds once something listens there."""

    def probe() -> bool:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S):
            return True

    return probe


def http_ready(url: str) -> Callable[[], bool]:
    """A probe that holds once ``url`` answers 2xx."""

    def probe() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310
                return bool(200 <= answer.status < 300)
        except urllib.error.HTTPError:
            return False

    return probe


def run_part(main: Callable[[], None]) -> None:
    """Run a part's main; an error that was raised on purpose ends it with one line."""
    os.umask(0o077)  # state is the user's own
    try:
        main()
    except EtlError as error:
        print(f"etl: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the thread that started this process ends; outlives ``exec``."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
