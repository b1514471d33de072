"""The lake in a bucket of an S3-compatible store.

``put_new`` is the store's own conditional put (If-None-Match: *). A store that ignores it would let two writers both
believe that they were first: that is tried before the first commit, and refused.
"""

from __future__ import annotations

import configparser
import io
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from fsspec import AbstractFileSystem
from obstore import exceptions
from obstore.store import S3Store

from etl.errors import StoreError, StoreUnavailable
from etl.settings import other_environment

RETRIES_MAX = 3
RETRY_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 60.0
OPTIONS = ("scheme", "endpoint_override", "region", "tls_ca_file_path", "virtual_addressing")
PROBES = "_probes"


class ObjectStorage:
    """A bucket; ``url`` is ``s3://bucket/prefix?endpoint_override=host:port&region=…``. A single put is atomic there.

    Raises ``ValueError`` for an address that means nothing, ``OSError`` for a file of authorities that is not there.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3" or not parts.hostname:
            raise ValueError("not s3://bucket")
        self._bucket = parts.netloc.rpartition("@")[2]
        self._prefix = unquote(parts.path).strip("/")
        self.url = f"s3://{'/'.join(filter(None, (self._bucket, self._prefix)))}"
        keys = {
            "access_key_id": unquote(parts.username or ""),
            "secret_access_key": unquote(parts.password or ""),
        }
        self._store = _store(self._bucket, dict(parse_qsl(parts.query)), keys)
        self._is_conditional = False

    def put(self, path: str, data: Any) -> None:
        with _reachable(self.url):
            obstore.put(self._store, self._key(path), _bytes(data))

    def put_new(self, path: str, data: bytes) -> bool:
        self._require_conditional_puts()
        return self._put_new(path, data)

    def _put_new(self, path: str, data: bytes) -> bool:
        with _reachable(self.url):
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
        with _reachable(self.url):
            return bytes(obstore.get(self._store, self._key(path)).bytes())

    def names(self, folder: str) -> list[str]:
        with _reachable(self.url):
            found = obstore.list_with_delimiter(self._store, self._key(folder))
        paths = [item["path"] for item in found["objects"]] + list(found["common_prefixes"])
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def files(self, folder: str) -> dict[str, float]:
        with _reachable(self.url):
            found = [item for some in obstore.list(self._store, self._key(folder)) for item in some]
        start = f"{self._prefix}/" if self._prefix else ""
        return {item["path"].removeprefix(start): item["last_modified"].timestamp() for item in found}

    def sweep(self, now_s: float) -> None:
        """A put is atomic here."""

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError), _reachable(self.url):
            obstore.delete(self._store, self._key(path))

    def open(self, path: str) -> Any:
        return self.as_fsspec().open(f"{self.url}/{path}")

    def as_fsspec(self) -> Any:
        """The bucket as DuckDB takes it, under ``s3://``."""
        return BucketFiles(self._store, self._bucket)

    def scan_options(self) -> dict[str, str]:
        """The bucket as Polars takes it, beside ``url``; what is not here it reads from the environment, as we do."""
        options = {
            f"aws_{name}": str(value) for name, value in self._store.config.items() if name != "bucket"
        }
        return options | {"aws_allow_http": str(self._store.client_options.get("allow_http", "false"))}

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}" if self._prefix else path


class BucketFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """As much of fsspec as DuckDB asks for. It reads one handle in several threads, a seek and a read at a time, so
    that each thread needs a position of its own: with fsspec's own files a quarter of its queries failed."""

    protocol = ("s3",)
    cachable = False

    def __init__(self, store: Any, bucket: str) -> None:
        super().__init__()
        self._store = store
        self._start = f"s3://{bucket}/"

    def _key(self, path: str) -> str:
        return path.removeprefix(self._start)

    def open(self, path: str, mode: str = "rb", **_: Any) -> BucketFile:
        return BucketFile(self._store, self._key(path), self.size(path))

    def size(self, path: str) -> int:
        with _reachable(path):
            return int(obstore.head(self._store, self._key(path))["size"])

    def modified(self, path: str) -> Any:
        with _reachable(path):
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
        return [path.removeprefix("s3://")] if self.exists(path) else []


class BucketFile(io.RawIOBase):
    """An object, read by ranges; a position a thread."""

    mode = "rb"

    def __init__(self, store: Any, key: str, size: int) -> None:
        self._store, self._key, self.size = store, key, size
        self._local = threading.local()

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
        with _reachable(self._key):
            data = bytes(obstore.get_range(self._store, self._key, start=start, end=end))
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


def _store(bucket: str, options: dict[str, str], keys: dict[str, str]) -> Any:
    unknown = options.keys() - set(OPTIONS)
    if unknown:
        raise ValueError(f"unknown options: {', '.join(sorted(unknown))}")
    scheme = options.get("scheme", "https")
    client: dict[str, Any] = {
        "allow_http": scheme == "http",
        "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
    }
    if authority := options.get("tls_ca_file_path"):
        client["root_certificate"] = Path(authority).read_bytes()
    config: dict[str, Any] = {
        name: value for name, value in (keys if any(keys.values()) else _profile()).items() if value
    }
    if endpoint := options.get("endpoint_override"):
        config["endpoint"] = endpoint if "://" in endpoint else f"{scheme}://{endpoint}"
    if region := options.get("region"):
        config["region"] = region
    if options.get("virtual_addressing") == "true":
        config["virtual_hosted_style_request"] = True
    retries = {"max_retries": RETRIES_MAX, "retry_timeout": timedelta(seconds=RETRY_TIMEOUT_S)}
    try:
        return S3Store(bucket, config=config, client_options=client, retry_config=retries)  # type: ignore[arg-type]
    except exceptions.BaseError as error:
        raise ValueError(type(error).__name__) from None


def _profile() -> dict[str, str]:
    """Keys of the profile ``AWS_PROFILE``, where the environment has none: it comes first, as with every AWS tool."""
    environment = other_environment()
    if "AWS_ACCESS_KEY_ID" in environment:
        return {}
    path = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(path)
    name = environment.get("AWS_PROFILE", "default")
    if name not in parser:
        return {}
    names = {
        "access_key_id": "aws_access_key_id",
        "secret_access_key": "aws_secret_access_key",
        "token": "aws_session_token",
    }
    return {to: parser[name].get(of, "") for to, of in names.items()}


def _bytes(data: Any) -> Any:
    return data if isinstance(data, bytes) else bytes(memoryview(data))


@contextmanager
def _reachable(place: str) -> Iterator[None]:
    try:
        yield
    except exceptions.NotFoundError as error:
        raise FileNotFoundError(str(error).partition("\n")[0]) from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except (FileNotFoundError, FileExistsError):
        raise
    except (exceptions.BaseError, OSError) as error:
        raise StoreUnavailable(f"lake at {place}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """What the store or the network said, on one line."""
    text = " ".join(str(error).split())
    said = text.partition(" Debug source:")[0]
    return f"{said}: its certificate is refused" if "ertificate" in text.removeprefix(said) else said
