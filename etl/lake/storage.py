"""Where the lake's bytes lie: a local folder, or a bucket of an S3-compatible store. Paths are relative, with "/".

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
from etl.model.addresses import shown
from etl.settings import Settings

TEMPORARY_SUFFIX = ".partial"


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

    def delete(self, path: str) -> None:
        """Nothing happens if it is gone already."""

    def open(self, path: str) -> Any:
        """A seekable pyarrow file."""


def open_storage(settings: Settings) -> Storage:
    """The lake of ``settings.lake_path``: a folder (made if missing), or ``s3://bucket/prefix?endpoint_override=…``.

    Access keys of a bucket come from the usual AWS_* variables.
    """
    place = settings.lake_path
    if "://" not in place or place.startswith("file://"):
        return LocalStorage(Path(place.removeprefix("file://")))
    try:
        return ObjectStorage(place)
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
            self._root.mkdir(parents=True, exist_ok=True)

    def put(self, path: str, data: Any) -> None:
        with _reachable(self.url):
            target = self._root / path
            os.replace(self._written(target, data), target)
            _sync_folder(target.parent)

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
            _sync_folder(target.parent)
            return True

    def get(self, path: str) -> bytes:
        with _reachable(self.url):
            return (self._root / path).read_bytes()

    def names(self, folder: str) -> list[str]:
        with _reachable(self.url), suppress(FileNotFoundError):
            return sorted(n for n in os.listdir(self._root / folder) if not n.endswith(TEMPORARY_SUFFIX))
        return []

    def delete(self, path: str) -> None:
        with _reachable(self.url):
            (self._root / path).unlink(missing_ok=True)

    def open(self, path: str) -> Any:
        with _reachable(self.url):
            return fs.LocalFileSystem().open_input_file(str(self._root / path))

    def _written(self, target: Path, data: Any) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
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


class ObjectStorage:
    """A bucket. A single put is atomic there; ``put_new`` looks first, so let one writer run at a time."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fs.FileSystem.from_uri(url)
        self.url = f"s3://{self._root}"

    def put(self, path: str, data: Any) -> None:
        with _reachable(self.url), self._fs.open_output_stream(f"{self._root}/{path}") as stream:
            stream.write(data)

    def put_new(self, path: str, data: bytes) -> bool:
        with _reachable(self.url):
            if self._fs.get_file_info(f"{self._root}/{path}").type != fs.FileType.NotFound:
                return False
            self.put(path, data)
            return True

    def get(self, path: str) -> bytes:
        with _reachable(self.url), self._fs.open_input_stream(f"{self._root}/{path}") as stream:
            return bytes(stream.read())

    def names(self, folder: str) -> list[str]:
        with _reachable(self.url):
            found = self._fs.get_file_info(fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True))
            return sorted(info.base_name for info in found)

    def delete(self, path: str) -> None:
        with _reachable(self.url), suppress(FileNotFoundError):
            self._fs.delete_file(f"{self._root}/{path}")

    def open(self, path: str) -> Any:
        with _reachable(self.url):
            return self._fs.open_input_file(f"{self._root}/{path}")

    def as_fsspec(self) -> Any:
        """The bucket as DuckDB takes it, under ``s3://``."""
        from fsspec.implementations.arrow import ArrowFSWrapper

        return ArrowFSWrapper(self._fs)


def _sync_folder(folder: Path) -> None:
    """A rename is lasting only once its folder is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _reachable(url: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError as error:
        raise StoreUnavailable(f"lake at {url}: {error}") from None
