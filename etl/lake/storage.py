"""Where the lake's bytes lie: a local folder, or a bucket (S3-compatible, Google, Azure). Paths are relative, with "/".

A write is all or nothing: a reader sees the old object, or the new one, never a part. Every method raises
``StoreUnavailable`` when the place cannot be reached.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from pyarrow import fs

from etl.errors import StoreUnavailable, UsageError
from etl.lake.bucket import ObjectStorage
from etl.lake.cache import FileCache
from etl.lake.durable import make_folder, sync_folder
from etl.model.addresses import shown
from etl.settings import Settings

TEMPORARY_SUFFIX = ".partial"
TEMPORARY_AGE_MAX_S = 86_400.0
"""What was begun so long ago is nobody's any more: a put takes seconds."""


class Storage(Protocol):
    url: str
    """What a path is appended to, for readers; ends without "/"."""

    def put(self, path: str, data: Any) -> None:
        """Write ``data`` (bytes or a buffer), replacing what is there."""

    def put_new(self, path: str, data: bytes) -> bool:
        """Write ``data`` only where nothing is; False if something is."""

    def get(self, path: str) -> bytes:
        """Raises ``FileNotFoundError``."""

    def names(self, folder: str) -> list[str]:
        """The plain names in ``folder``, sorted; empty if there is no such folder."""

    def files(self, folder: str) -> dict[str, float]:
        """The paths of all that lies below ``folder``, however deep, and when each was written (Unix time); empty if
        there is no such folder."""

    def size(self, path: str) -> int:
        """Bytes of what is there. Raises ``FileNotFoundError``."""

    def is_same(self, path: str, data: bytes) -> bool:
        """Whether what is there is ``data``, which was put there. Raises ``FileNotFoundError``."""

    def delete(self, path: str) -> None:
        """Nothing happens if it is gone already."""

    def sweep(self, now_s: float) -> None:
        """Delete what writers that died have left half written (Unix time ``now_s``)."""

    def open(self, path: str) -> Any:
        """A seekable pyarrow file."""


def open_storage(settings: Settings) -> Storage:
    """The lake of ``settings.lake_path``: a folder (made if missing), or ``s3://bucket/prefix?endpoint_override=…``, or
    gs:// or az://, of which ``lake_cache_mib`` of the files read lately are kept.

    Access keys of a bucket come from the environment, of S3 also from the profile that ``AWS_PROFILE`` names.
    """
    if not settings.lake.url:
        return LocalStorage(Path(settings.lake_path))
    size = settings.lake.cache_mib << 20
    return storage_at(
        settings.lake.url, FileCache(settings.state_path / "lake_cache", size) if size else None
    )


def storage_at(place: str, cache: FileCache | None = None) -> Storage:
    """The folder or bucket that ``place`` addresses. Raises ``UsageError``."""
    if "://" not in place or place.startswith("file://"):
        # a mistyped bucket, maybe with its keys, is no folder to be made
        if shown(place) != place:
            raise UsageError("lake_url: must be a folder, or s3://bucket/prefix?endpoint_override=host:port")
        return LocalStorage(Path(place.removeprefix("file://")))
    try:
        return ObjectStorage(place, cache)
    except (ValueError, OSError) as error:
        kind = type(error).__name__  # its text repeats the address, and keys may stand in it
        raise UsageError(
            f"ETL_LAKE_URL: {shown(place)}: {kind}; is it a bucket that can be reached?"
        ) from None


class LocalStorage:
    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.url = str(self._root)
        with _reachable(self.url):
            make_folder(self._root)
        self._lasting = {self._root}
        """Folders that are known to outlive a power cut; whoever made one may have died before it was."""

    def put(self, path: str, data: Any) -> None:
        with _reachable(self.url):
            target = self._root / path
            os.replace(self._written(target, data), target)
            sync_folder(target.parent)

    def put_new(self, path: str, data: bytes) -> bool:
        with _reachable(self.url):
            target = self._root / path
            partial = self._written(target, data)
            try:
                os.link(partial, target)
            except FileExistsError:
                return False
            finally:
                partial.unlink()
            sync_folder(target.parent)
            return True

    def get(self, path: str) -> bytes:
        with _reachable(self.url):
            return (self._root / path).read_bytes()

    def names(self, folder: str) -> list[str]:
        with _reachable(self.url), suppress(FileNotFoundError):
            return sorted(n for n in os.listdir(self._root / folder) if not n.endswith(TEMPORARY_SUFFIX))
        return []

    def size(self, path: str) -> int:
        with _reachable(self.url):
            return (self._root / path).stat().st_size

    def is_same(self, path: str, data: bytes) -> bool:
        return self.get(path) == data

    def delete(self, path: str) -> None:
        with _reachable(self.url):
            (self._root / path).unlink(missing_ok=True)

    def files(self, folder: str) -> dict[str, float]:
        found = {}
        for path in self._walk(folder):
            if not path.endswith(TEMPORARY_SUFFIX):
                with suppress(FileNotFoundError), _reachable(self.url):
                    found[path] = (self._root / path).stat().st_mtime
        return found

    def _walk(self, folder: str) -> list[str]:
        with _reachable(self.url):
            found = os.walk(self._root / folder)
            return sorted(
                os.path.relpath(f"{at}/{name}", self._root) for at, _, names in found for name in names
            )

    def sweep(self, now_s: float) -> None:
        for path in self._walk(""):
            with suppress(FileNotFoundError), _reachable(self.url):
                if path.endswith(TEMPORARY_SUFFIX) and (
                    (self._root / path).stat().st_mtime < now_s - TEMPORARY_AGE_MAX_S
                ):
                    self.delete(path)

    def open(self, path: str) -> Any:
        with _reachable(self.url):
            return fs.LocalFileSystem().open_input_file(str(self._root / path))

    def _written(self, target: Path, data: Any) -> Path:
        self._make_lasting(target.parent)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        try:
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # a full disk: leave no part behind to fill it
            partial.unlink(missing_ok=True)
            raise
        return partial

    def _make_lasting(self, folder: Path) -> None:
        """With those above it, down from the root."""
        if folder in self._lasting:
            return
        self._make_lasting(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
        self._lasting.add(folder)


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise StoreUnavailable(f"lake at {url}: {error}") from None
