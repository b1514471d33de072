"""Named places where a test lets the process die as by ``kill -9``: between two writes that must agree."""

from __future__ import annotations

import os
import signal

from etl.settings import Settings

BETWEEN_RAW_AND_NORMALIZED = "between_raw_and_normalized"
AFTER_INTENT = "after_intent"
IN_INSERT = "in_insert"
AFTER_INSERT = "after_insert"
BEFORE_COMMIT = "before_commit"
BEFORE_TIMESCALE_COMMIT = "before_timescale_commit"
BETWEEN_LAKE_FILE_AND_CATALOG = "between_lake_file_and_catalog"


def reach(settings: Settings, point: str) -> None:
    """Die here if ``settings.crash_point`` says so."""
    if settings.crash_point == point:
        os.kill(os.getpid(), signal.SIGKILL)
