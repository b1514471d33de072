"""Closed days on the local disk, as Arrow files: whoever asks again asks nobody."""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

import pyarrow as pa

TEMPORARY_SUFFIX = ".new"


class Cache:
    """At most ``bytes_max`` in ``folder``; what was used longest ago goes first."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder = folder
        self._bytes_max = bytes_max

    def find(self, key: str) -> pa.Table | None:
        path = self._path(key)
        try:
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
            os.utime(path)
        except (FileNotFoundError, pa.ArrowInvalid):
            return None
        return table

    def keep(self, key: str, table: pa.Table) -> None:
        if not self._bytes_max:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(key)
        temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        temporary.rename(path)
        self._make_room()

    def _make_room(self) -> None:
        found = [(path.stat(), path) for path in self._folder.glob("*.arrow")]
        total = sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda one: one[0].st_mtime_ns):
            if total <= self._bytes_max:
                return
            path.unlink(missing_ok=True)
            total -= stat.st_size

    def _path(self, key: str) -> Path:
        return self._folder / f"{sha256(key.encode()).hexdigest()[:40]}.arrow"
