"""``python -m etl.telemetry.alive``: whether the process of this container answers on its metrics port.

What a container's health check runs; ends with 1 where it does not. A command that serves no metrics is well as long
as it runs.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

from etl import settings as settings_module

ANSWER_WITHIN_S = 4.0


def is_alive(port: int) -> bool:
    """Whether the metrics are served on ``port`` of this machine; 0 = there are none to ask for."""
    if not port:
        return True
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=ANSWER_WITHIN_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_alive(settings_module.load().metrics.port) else 1)
