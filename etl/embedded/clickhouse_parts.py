"""Parts that the engine serves though they could not be written: what a disk that fills up during a merge leaves.

The engine (26.9) takes such a part for whole; queries of it fail. What it was merged from stays on the disk for 8
minutes (``old_parts_lifetime``), and a start sets the broken part aside and serves that again. So they are looked for,
and the server ends; whoever keeps it running starts it again. Inserts are not concerned: one that cannot be written is
refused.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

from etl.embedded.clickhouse_engine import Engine, EngineError, Request

LOOK_EVERY_S = 5.0
SERVED = "SELECT path, bytes_on_disk FROM system.parts WHERE active AND rows > 0 FORMAT TSVRaw"
NEVER_EMPTY = (".txt", ".cmrk", ".cmrk2", ".cmrk3", ".cmrk4")
"""Of the files of a part with rows; those of a column may be."""


async def end_when_unwritten(engine: Engine) -> None:
    """Look again and again; SIGTERM to this process when one is found twice: a part may just be going away."""
    suspected: set[Path] = set()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            found = await asyncio.to_thread(unwritten, engine)
        except EngineError as error:
            print(f"clickhouse: parts were not looked at: {error}", file=sys.stderr, flush=True)
            continue
        for part in found & suspected:
            print(f"clickhouse: {part} was not written whole; starting again", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            return
        suspected = found


def unwritten(engine: Engine) -> set[Path]:
    """Raises ``EngineError``."""
    lines = b"".join(engine.run(Request(text=SERVED)).chunks).decode().splitlines()
    served = [(Path(path), int(size)) for path, _, size in (line.rpartition("\t") for line in lines)]
    return {path for path, size in served if not is_whole(path, size)}


def is_whole(part: Path, bytes_on_disk: int) -> bool:
    """Whether ``part`` has the bytes that the engine counts; one that has gone has not."""
    with suppress(FileNotFoundError):
        sizes = {file: file.stat().st_size for file in part.rglob("*") if file.is_file()}
        empty = any(not size and file.suffix in NEVER_EMPTY for file, size in sizes.items())
        return not empty and sum(sizes.values()) >= bytes_on_disk
    return False
