"""A backup as it lies in a folder or bucket: objects, and a manifest that is written last and names every one of them.

    manifest.json                                what is there, with the digest of every object
    {content}/…                                  objects, compressed with zstd where they are not already

Without a manifest it is no backup: one that was cut off is made again from the beginning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa
from msgspec import Struct

from etl.errors import StoreError, UsageError
from etl.lake.storage import Storage

MANIFEST = "manifest.json"
FORMAT = 1
"""Rises when an older ``etl restore`` would read a backup wrongly."""
OBJECT_BYTES_MAX = 8 << 20
"""Of what is cut while it is read, before compression: so much is held in memory at once, and a row more."""


class Object(Struct, frozen=True):
    """``bytes`` and ``sha256`` are of what lies there, ``raw_bytes`` of what was given; equal = not compressed."""

    path: str
    bytes: int
    raw_bytes: int
    sha256: str


class Bounds(Struct, frozen=True):
    """Offsets [start, end) of one partition."""

    start: int
    end: int


class Topic(Struct, frozen=True):
    """``topic_id`` and offsets are those of the topic that was backed up; a restored one has its own."""

    topic_id: str
    partitions: dict[int, Bounds]


class Manifest(Struct, frozen=True):
    """``migrations`` are the versions of the stores' tables; ``topics`` go by their role in the settings, as do
    ``topic_names``."""

    format: int
    etl_version: str
    made_ns: int
    contents: tuple[str, ...]
    migrations: dict[str, int]
    topics: dict[str, Topic]
    topic_names: dict[str, str]
    objects: tuple[Object, ...]

    def below(self, folder: str) -> list[Object]:
        """In the order in which they were written."""
        return [each for each in self.objects if each.path.startswith(f"{folder}/")]


class Writer:
    """A new backup in ``storage``. Raises ``UsageError`` where there is one."""

    def __init__(self, storage: Storage) -> None:
        if MANIFEST in storage.names(""):
            raise UsageError(f"{storage.url}: there is a backup already: give this one a place of its own")
        self._storage = storage
        self._objects: list[Object] = []

    @property
    def size(self) -> int:
        """Bytes so far."""
        return sum(each.bytes for each in self._objects)

    def put(self, path: str, data: bytes) -> None:
        packed = pa.compress(data, codec="zstd", asbytes=True)
        self._put(path, packed if len(packed) < len(data) else data, len(data))

    def put_packed(self, path: str, data: bytes) -> None:
        """For what is compressed already."""
        self._put(path, data, len(data))

    def _put(self, path: str, data: bytes, raw_bytes: int) -> None:
        self._storage.put(path, data)
        self._objects.append(Object(path, len(data), raw_bytes, hashlib.sha256(data).hexdigest()))

    def finish(self, **facts: Any) -> Manifest:
        manifest = Manifest(format=FORMAT, objects=tuple(self._objects), **facts)
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
        if not self._storage.put_new(MANIFEST, data):
            raise UsageError(f"{self._storage.url}: another backup was made here meanwhile")
        return manifest


class Reader:
    """A whole backup. Raises ``UsageError`` where there is none, or one of newer code."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        try:
            self.manifest = msgspec.json.decode(storage.get(MANIFEST), type=Manifest)
        except FileNotFoundError:
            raise UsageError(f"{storage.url}: no backup: it has no {MANIFEST}") from None
        except msgspec.DecodeError as error:
            raise UsageError(f"{storage.url}/{MANIFEST}: {error}") from None
        if self.manifest.format > FORMAT:
            raise UsageError(
                f"{storage.url}: made by newer code ({self.manifest.etl_version}); restore with that"
            )

    def get(self, found: Object) -> bytes:
        """What was given to ``put``. Raises ``StoreError`` if that is not what lies there."""
        try:
            data = self._storage.get(found.path)
        except FileNotFoundError:
            raise StoreError(f"backup: {found.path} is missing") from None
        if hashlib.sha256(data).hexdigest() != found.sha256:
            raise StoreError(f"backup: {found.path} is not what was written: its digest differs")
        if found.bytes == found.raw_bytes:
            return data
        return bytes(pa.decompress(data, decompressed_size=found.raw_bytes, codec="zstd", asbytes=True))

    def check(self, contents: tuple[str, ...]) -> None:
        """Reads every object of these. Raises ``StoreError`` for the first that is missing or not what was written."""
        for content in contents:
            for found in self.manifest.below(content):
                self.get(found)

    def parts(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """The objects below ``folder``: their paths below it, and what they hold."""
        for found in self.manifest.below(folder):
            yield found.path.removeprefix(f"{folder}/"), self.get(found)
