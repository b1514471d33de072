"""``python -m etl.telemetry.alive [PORT]``: whether the process of this container answers on its metrics port, or on
another that it serves over HTTP.

What a container's health check runs; ends with 1 where it does not. A command that serves no metrics is well as long
as it runs.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request

from etl import settings as settings_module

ANSWER_WITHIN_S = 4.0
ANSWERS = (401, 403, 404)
"""Of a server that is well, and serves no metrics on this port."""


def is_alive(port: int) -> bool:
    """Whether ``port`` of this machine answers over HTTP, also that it has no such page; 0 = there is none to ask."""
    if not port:
        return True
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=ANSWER_WITHIN_S) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as refusal:
        return refusal.code in ANSWERS
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    asked = int(sys.argv[1]) if len(sys.argv) > 1 else settings_module.load().metrics.port
    sys.exit(0 if is_alive(asked) else 1)
