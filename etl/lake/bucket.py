"""The lake in a bucket: of an S3-compatible store, of Google Cloud Storage, or of Azure.

``put_new`` is the store's own conditional put (If-None-Match: *). A store that ignores it would let two writers both
believe that they were first: that is tried before the first commit, and refused.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore import exceptions

from etl.errors import StoreError
from etl.lake.bucket_files import BucketFiles
from etl.lake.bucket_store import OPTIONS, reachable, store_of
from etl.lake.cache import FileCache

PROBES = "_probes"
_OF_PARTS = re.compile(r"[0-9a-f]{32}-\d+").fullmatch
"""An ETag of S3."""


class ObjectStorage:
    """A bucket; ``url`` is ``s3://bucket/prefix?endpoint_override=host:port&region=…``, or begins with ``gs://`` or
    ``az://``. A single put is atomic there. Files that are opened are kept in ``cache``.

    Raises ``ValueError`` for an address that means nothing, ``OSError`` for a file of authorities that is not there.
    """

    def __init__(self, url: str, cache: FileCache | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in OPTIONS or not parts.hostname:
            raise ValueError(f"not {'://, '.join(OPTIONS)}:// with a bucket")
        self._kind, self._cache = parts.scheme, cache
        self._bucket = parts.netloc.rpartition("@")[2]
        self._prefix = unquote(parts.path).strip("/")
        self.url = f"{self._kind}://{'/'.join(filter(None, (self._bucket, self._prefix)))}"
        keys = {
            "access_key_id": unquote(parts.username or ""),
            "secret_access_key": unquote(parts.password or ""),
        }
        self._store = store_of(self._kind, self._bucket, dict(parse_qsl(parts.query)), keys)
        self._is_conditional = False

    def put(self, path: str, data: Any) -> None:
        with reachable(self.url):
            obstore.put(self._store, self._key(path), _bytes(data))

    def put_new(self, path: str, data: bytes) -> bool:
        self._require_conditional_puts()
        return self._put_new(path, data)

    def _put_new(self, path: str, data: bytes) -> bool:
        with reachable(self.url):
            try:
                obstore.put(self._store, self._key(path), data, mode="create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError, FileExistsError):
                return False
            return True

    def _require_conditional_puts(self) -> None:
        if self._is_conditional:
            return
        probe = f"{PROBES}/{uuid.uuid4().hex}"
        first, second = self._put_new(probe, b"1"), self._put_new(probe, b"2")
        self.delete(probe)
        if not first or second:
            raise StoreError(
                f"lake at {self.url}: the store ignores If-None-Match; two writers would overwrite each other"
            )
        self._is_conditional = True

    def get(self, path: str) -> bytes:
        with reachable(self.url):
            return bytes(obstore.get(self._store, self._key(path)).bytes())

    def names(self, folder: str) -> list[str]:
        with reachable(self.url):
            found = obstore.list_with_delimiter(self._store, self._key(folder))
        paths = [item["path"] for item in found["objects"]] + list(found["common_prefixes"])
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def files(self, folder: str) -> dict[str, float]:
        with reachable(self.url):
            found = [item for some in obstore.list(self._store, self._key(folder)) for item in some]
        start = f"{self._prefix}/" if self._prefix else ""
        return {item["path"].removeprefix(start): item["last_modified"].timestamp() for item in found}

    def sweep(self, now_s: float) -> None:
        """A put is atomic here."""

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError), reachable(self.url):
            obstore.delete(self._store, self._key(path))

    def open(self, path: str) -> Any:
        return self.as_fsspec().open(f"{self.url}/{path}")

    def as_fsspec(self) -> Any:
        """The bucket as DuckDB takes it, under the scheme of its address."""
        return BucketFiles(self._store, f"{self._kind}://{self._bucket}/", self._cache)

    def size(self, path: str) -> int:
        """Bytes of an object, as the store says. Raises ``FileNotFoundError``."""
        with reachable(self.url):
            return int(obstore.head(self._store, self._key(path))["size"])

    def is_same(self, path: str, data: bytes) -> bool:
        """By the MD5 that the store has made of an object that was put whole, as Google and S3 do. One that went to S3
        in parts was compared by the store, a SHA-256 a part; else, at Azure always, it is read back."""
        with reachable(self.url):
            head = obstore.head(self._store, self._key(path))
        if head["size"] != len(data):
            return False
        tag = (head["e_tag"] or "").strip('"')
        if tag == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return True
        return (self._kind == "s3" and _OF_PARTS(tag) is not None) or self.get(path) == data

    def scan_options(self) -> dict[str, str]:
        """The bucket as Polars takes it, beside ``url``; what is not here it reads from the environment, as we do."""
        names = {name: str(value) for name, value in self._store.config.items() if name != "bucket"}
        return names | {"allow_http": str(self._store.client_options.get("allow_http", "false"))}

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path


def _bytes(data: Any) -> Any:
    return data if isinstance(data, bytes) else bytes(memoryview(data))
