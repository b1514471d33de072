"""``etl`` commands in processes of their own."""

from __future__ import annotations

import sys

from etl.bench.crash_at import command_with


def etl_command(*words: str, crash_point: str = "") -> list[str]:
    """``etl`` with ``words``; it kills itself where it reaches ``crash_point``."""
    command = [sys.executable, "-m", "etl", *words]
    return command_with(command, crash_point) if crash_point else command
