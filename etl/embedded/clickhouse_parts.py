"""Parts that the engine serves though they could not be written: what a disk leaves that fills up meanwhile.

The engine (26.9) takes such a part for whole, of a merge and of an insert alike, and queries of it fail. It writes only
where ``KEEP_FREE_BYTES`` are free; what is written while they go is looked at here:

- An insert that ends with less is answered only once its parts are known to be whole. Those that are not are dropped,
  their tokens with them, and the insert is refused: sent again, it is stored.
- What a merged part was made of stays on the disk for 8 minutes (``old_parts_lifetime``), and a start sets a broken
  part aside and serves that again. So they are looked for, and the server ends; its keeper starts it again.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from etl.embedded.clickhouse_engine import (
    KEEP_FREE_BYTES,
    NOT_ENOUGH_SPACE,
    Engine,
    EngineError,
    QueryResult,
    Request,
)

LOOK_EVERY_S = 5.0
SERVED = (
    "SELECT database, table, name, level, bytes_on_disk, path FROM system.parts WHERE active AND rows > 0"
    " FORMAT TSVRaw"
)
NEVER_EMPTY = (".txt", ".cmrk", ".cmrk2", ".cmrk3", ".cmrk4")
"""Of the files of a part with rows; those of a column may be."""


class ServedPart(Struct, frozen=True):
    table: str
    """Quoted, with its database."""
    name: str
    level: int
    """0 = inserted, else merged."""
    path: Path


class Parts:
    """Those of one engine. Methods may be called from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._dropped_s = 0.0

    def run(self, request: Request) -> QueryResult:
        """As the engine does. Raises ``EngineError``, for an insert that was not written too."""
        began_s = time.monotonic()
        try:
            result = self._engine.run(request)
        except EngineError:
            if (
                self._is_tight()
            ):  # of several tables, one may have refused the insert and another not have written it
                self._drop_unwritten()
            raise
        if "written_rows" in result.summary and self._is_tight():
            self.require_written(began_s)
        return result

    def require_written(self, began_s: float) -> None:
        """Of an insert that began at this monotonic time. Which parts are its own is not known: whoever was under way
        when one was dropped is refused, and what it has stored is not stored twice when it is sent again."""
        if self._drop_unwritten() >= began_s:
            raise EngineError(NOT_ENOUGH_SPACE, "The disk filled up while parts were written")

    def _is_tight(self) -> bool:
        return shutil.disk_usage(self._engine.data_dir).free < KEEP_FREE_BYTES

    def _drop_unwritten(self) -> float:
        """Of what was inserted; returns when the last one was dropped."""
        with self._lock:
            for part in self.unwritten():
                if part.level == 0:
                    self._engine.own(f"ALTER TABLE {part.table} DROP PART '{part.name}'")
                    self._dropped_s = time.monotonic()
            return self._dropped_s

    def unwritten(self) -> set[ServedPart]:
        """Raises ``EngineError``."""
        found = set()
        for line in self._engine.own(SERVED).splitlines():
            database, table, name, level, size, path = line.split("\t")
            if not is_whole(Path(path), int(size)):
                found.add(ServedPart(f"`{database}`.`{table}`", name, int(level), Path(path)))
        return found

    async def end_when_unwritten(self) -> None:
        """Look again and again; SIGTERM to this process when one is found twice: a part may just be going away."""
        suspected: set[ServedPart] = set()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                found = await asyncio.to_thread(self.unwritten)
            except EngineError as error:
                print(f"clickhouse: parts were not looked at: {error}", file=sys.stderr, flush=True)
                continue
            for part in found & suspected:
                print(f"clickhouse: {part.path} was not written whole; starting again", file=sys.stderr)
                os.kill(os.getpid(), signal.SIGTERM)
                return
            suspected = found


def is_whole(part: Path, bytes_on_disk: int) -> bool:
    """Whether ``part`` has the bytes that the engine counts; one that has gone has not."""
    with suppress(FileNotFoundError):
        sizes = {file: file.stat().st_size for file in part.rglob("*") if file.is_file()}
        empty = any(not size and file.suffix in NEVER_EMPTY for file, size in sizes.items())
        return not empty and sum(sizes.values()) >= bytes_on_disk
    return False
