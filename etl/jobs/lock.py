"""One scheduler at a time over a state directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from etl.errors import PartError
from etl.monitoring.job_runs import file_of
from etl.settings import Settings


@contextmanager
def held(settings: Settings) -> Iterator[None]:
    """Raises ``PartError`` while another holds it."""
    file = file_of(settings).with_name("lock")
    file.parent.mkdir(parents=True, exist_ok=True)
    opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise PartError(f"a scheduler runs on {settings.state_path} already") from None
    finally:
        os.close(opened)
