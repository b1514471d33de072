"""Files of the state directory that are written whole or not at all."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from etl.lake.durable import make_folder, sync_folder

TEMPORARY_SUFFIX = ".new"


def write_whole(path: Path, content: bytes, mode: int = 0o666, durable: bool = True) -> None:
    """Whoever reads ``path`` meanwhile finds what was there before, or all of ``content``; after a power cut too where
    it is ``durable``, which costs a write to the disk. Makes the folder. Raises ``OSError``."""
    if durable:
        make_folder(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}{TEMPORARY_SUFFIX}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_new(path: Path, content: bytes) -> None:
    """For a secret: mode 0600, durable, whole. Raises ``FileExistsError`` if it is there already."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{time.monotonic_ns()}{TEMPORARY_SUFFIX}")
    try:
        write_whole(temporary, content, mode=0o600)
        os.link(temporary, path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
