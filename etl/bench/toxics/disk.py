"""A disk that can be filled without harm to any other: a file system in memory, where this process may mount one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

FILLER = "filler"
PIECES_BYTES = (1 << 20, 4 << 10, 1)
"""The last bytes are taken one by one."""


class Disk:
    """Mounted on ``path``, or, where ``why_not`` says why it is not, only a directory that is never filled."""

    def __init__(self, path: Path, why_not: str) -> None:
        self._filler = path / FILLER
        self.why_not = why_not

    @contextlib.asynccontextmanager
    async def full(self) -> AsyncIterator[str]:
        """Within it no byte is free. Gives "", or why that is not so."""
        try:
            if not self.why_not:
                await asyncio.to_thread(self._fill)
            yield self.why_not
        finally:
            self._filler.unlink(missing_ok=True)

    def _fill(self) -> None:
        file = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for size in PIECES_BYTES:
                with contextlib.suppress(OSError):  # no space left: what was wanted
                    while os.write(file, bytes(size)) == size:
                        pass
        finally:
            os.close(file)


@contextlib.contextmanager
def mounted(path: Path, mib: int, stays: bool = False) -> Iterator[Disk]:
    """A new disk of so many MiB on ``path``, gone at the end unless it ``stays``. Who may not mount gets one that is
    never filled; ``unshare --user --map-root-user --mount`` makes a place where everybody may."""
    path.mkdir(parents=True, exist_ok=True)
    options = f"size={mib}m,mode=0700"
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "etl-chaos", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounting.returncode:
        yield Disk(path, mounting.stderr.strip() or "mount failed")
        return
    try:
        yield Disk(path, "")
    finally:
        if not stays:
            subprocess.run(["umount", "--lazy", str(path)], check=True)
