"""The log of a part: bounded, and its last line for an error message."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LOG_BYTES_MAX = 16 << 20
"""Per part; the file before is kept once, as ``.log.1``."""
LAST_WORDS_BYTES_MAX = 4096
LAST_WORDS_CHARACTERS_MAX = 400


def bound_log(log: Path, bytes_max: int = LOG_BYTES_MAX) -> None:
    """Copy a log that has grown too long to ``.1`` and empty it; the part writes on, it appends."""
    if log.exists() and log.stat().st_size > bytes_max:
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        os.truncate(log, 0)


def last_words(log: Path) -> str:
    """The last line of a log, for an error message."""
    if not log.exists():
        return "it said nothing"
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - LAST_WORDS_BYTES_MAX))
        lines = [
            line for line in file.read().decode(errors="replace").splitlines() if any(map(str.isalnum, line))
        ]
    return lines[-1].strip()[-LAST_WORDS_CHARACTERS_MAX:] if lines else "it said nothing"
