"""Objects of a bucket that were read lately, kept in a local folder of a limited size. Files of a lake never change
under their name, so that what is here is what is there."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path


class FileCache:
    """Of several processes; whoever adds one deletes those that were not read for the longest time."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max

    def path(self, name: str, size: int, fetch: Callable[[], bytes]) -> Path | None:
        """Where the object ``name`` of ``size`` bytes lies here, fetched if need be; ``None`` if it is too large.

        Raises what ``fetch`` raises, and ``OSError``."""
        if size > self._bytes_max:
            return None
        target = self._folder / blake2b(f"{name} {size}".encode(), digest_size=16).hexdigest()
        try:
            os.utime(target)
        except FileNotFoundError:
            self._add(target, fetch())
        return target

    def _add(self, target: Path, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._make_room(len(data))
        partial = target.with_name(f".{uuid.uuid4().hex}")
        partial.write_bytes(data)
        partial.replace(target)

    def _make_room(self, size: int) -> None:
        """Whoever has a file open that goes reads it to the end all the same."""
        found = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        held = sum(bytes_ for _, bytes_, _ in found)
        for _, bytes_, path in sorted(found):
            if held + size <= self._bytes_max:
                return
            path.unlink(missing_ok=True)
            held -= bytes_
