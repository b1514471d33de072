"""Objects of a bucket as files, for DuckDB and Arrow."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
from fsspec import AbstractFileSystem

from etl.lake.bucket_store import reachable
from etl.lake.cache import FileCache

_LOG = "/_delta_log/"


class BucketFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """As much of fsspec as DuckDB asks for. It reads one handle in several threads, a seek and a read at a time, so
    that each thread needs a position of its own: with fsspec's own files a quarter of its queries failed."""

    cachable = False

    def __init__(self, store: Any, start: str, cache: FileCache | None = None) -> None:
        """``start`` is the address of the bucket, with a slash at its end."""
        super().__init__()
        self._store = store
        self._start = start
        self._cache = cache
        self.protocol = (start.partition("://")[0],)

    def _key(self, path: str) -> str:
        return path.removeprefix(self._start)

    def open(self, path: str, mode: str = "rb", **_: Any) -> BucketFile:
        key, size = self._key(path), self.size(path)
        if kept := self._kept(path, key, size):
            descriptor = os.open(kept, os.O_RDONLY)
            return BucketFile(lambda start, end: os.pread(descriptor, end - start, start), size, descriptor)
        return BucketFile(lambda start, end: self._bytes(key, start, end), size)

    def _kept(self, path: str, key: str, size: int) -> Path | None:
        """A file of data; what a log has may be written again under its name."""
        if self._cache is None or _LOG in path:
            return None
        return self._cache.path(path, size, lambda: self._bytes(key, 0, size))

    def _bytes(self, key: str, start: int, end: int) -> bytes:
        with reachable(key):
            return bytes(obstore.get_range(self._store, key, start=start, end=end)) if start < end else b""

    def size(self, path: str) -> int:
        with reachable(path):
            return int(obstore.head(self._store, self._key(path))["size"])

    def modified(self, path: str) -> Any:
        with reachable(path):
            return obstore.head(self._store, self._key(path))["last_modified"]

    def exists(self, path: str) -> bool:
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def info(self, path: str) -> dict[str, Any]:
        return {"name": path, "size": self.size(path), "type": "file"}

    def isfile(self, path: str) -> bool:
        return self.exists(path)

    def isdir(self, path: str) -> bool:
        return False

    def glob(self, path: str) -> list[str]:
        return [path.partition("://")[2]] if self.exists(path) else []


class BucketFile(io.RawIOBase):
    """An object, read by ranges; a position a thread."""

    mode = "rb"

    def __init__(self, read_at: Callable[[int, int], bytes], size: int, descriptor: int = -1) -> None:
        self._read_at, self.size, self._descriptor = read_at, size, descriptor
        self._local = threading.local()

    def close(self) -> None:
        if self._descriptor >= 0 and not self.closed:
            os.close(self._descriptor)
        super().close()

    def tell(self) -> int:
        return getattr(self._local, "position", 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        self._local.position = base + offset
        return base + offset

    def read(self, size: int = -1) -> bytes:
        start = self.tell()
        end = self.size if size < 0 else min(self.size, start + size)
        if end <= start:
            return b""
        data = self._read_at(start, end)
        self._local.position = start + len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
