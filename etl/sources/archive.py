"""A venue's archive files: fetched, held against their checksum, and given out in blocks of whole lines.

A file is a zip with one CSV in it, a gzipped or a plain CSV, and beside it as a rule ``<name>.CHECKSUM`` with its
SHA-256; where there is none its packing has one of what is in it. A block's endpoint names file, checksum and lines
(``archive:https://…/BTCUSDT-trades-2024-08-08.csv#lines=1-15000;sha256=…``), so that whoever meets the frame in the raw
topic can find the bytes again.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import cast
from urllib.parse import unquote

import aiohttp
from msgspec import Struct

from etl.errors import VenueError
from etl.model.addresses import shown
from etl.sources.history import Answer
from etl.sources.lines import bounded_lines

TIMEOUT = aiohttp.ClientTimeout(total=None, connect=20.0, sock_read=60.0)
"""A file may take as long as it likes, as long as bytes come."""
ATTEMPTS_MAX = 3
ARCHIVE_BYTES_MAX = 8 << 30
READ_BYTES = 1 << 20
PLAIN = ".csv"
FOLDER = "file://"
CHECKSUM_BYTES_MAX = 1 << 10
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Those that are unpacked a bounded piece at a time."""


BROKEN = (ValueError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)
"""What reading a file raises that is not what its packing says."""


class ArchiveMissing(VenueError):
    """The archive has no such file: a hole at the source, or a day that is not published yet."""


class ArchiveFile(Struct, frozen=True):
    """A file that was fetched and is what its checksum says; ``url`` is where it came from."""

    url: str
    path: Path
    sha256: str

    def blocks(self, bytes_max: int) -> Iterator[Answer]:
        """The CSV's lines in order, as many whole ones at a time as fit into ``bytes_max``.

        Raises ``VenueError`` if it is no archive of one file, or has a line that is longer.
        """
        address = shown(self.url)
        packing = self.path.suffix.lower()
        if packing == ".gz":
            address = address.removesuffix(".gz")
        elif packing != PLAIN:
            address = address.removesuffix(".zip").removesuffix(".csv") + ".csv"
        try:
            with self._unpacked() as file:
                for first, last, block in _blocks(bounded_lines(file, bytes_max), bytes_max):
                    endpoint = f"archive:{address}#lines={first}-{last};sha256={self.sha256}"
                    yield Answer(endpoint, block, time.time_ns())
        except BROKEN as error:
            raise VenueError(f"{shown(self.url)}: {error}") from None

    def fault(self) -> str:
        """What is wrong with it by the checksum of its packing, "" if it is whole."""
        try:
            with self._unpacked() as file:
                if file.read(1) == b"<":
                    return "a page of HTML in the place of a file"
                while file.read(READ_BYTES):
                    pass
        except BROKEN as error:
            return str(error)
        return ""

    def lines(self) -> int:
        """How many it has, with its headings. Raises ``VenueError``."""
        try:
            with self._unpacked() as file:
                return sum(part.count(b"\n") for part in iter(lambda: file.read(READ_BYTES), b""))
        except BROKEN as error:
            raise VenueError(f"{shown(self.url)}: {error}") from None

    @contextmanager
    def _unpacked(self) -> Iterator[BufferedIOBase]:
        """Raises one of ``BROKEN``, as reading from it does."""
        if self.path.suffix == ".gz":
            with gzip.open(self.path) as file:
                yield cast(BufferedIOBase, file)
            return
        if self.path.suffix.lower() == PLAIN:
            with self.path.open("rb") as plain:
                yield plain
            return
        with zipfile.ZipFile(self.path) as archive:
            (entry,) = archive.infolist()
            if entry.compress_type not in COMPRESSIONS:
                raise ValueError(f"compressed by method {entry.compress_type}")
            with BufferedReader(cast(RawIOBase, archive.open(entry))) as file:
                yield file


def is_folder(url: str) -> bool:
    """Whether the files at this address are on this machine already."""
    return url.startswith(FOLDER)


async def fetch(
    session: aiohttp.ClientSession, url: str, directory: Path, checksum_suffix: str
) -> ArchiveFile:
    """Download ``url`` into ``directory`` and verify it, by the SHA-256 at its address and ``checksum_suffix``, or "" =
    by that of its packing. What is not whole is fetched again. Raises ``ArchiveMissing``, ``VenueError``."""
    if is_folder(url):
        return await asyncio.to_thread(_of_folder, url)
    path = directory / url.rpartition("/")[2]
    refusal = ""
    for _ in range(ATTEMPTS_MAX):
        try:
            checksum = await _checksum(session, url + checksum_suffix) if checksum_suffix else ""
            found = await _download(session, url, path)
        except (aiohttp.ClientError, TimeoutError) as error:
            refusal = f"{type(error).__name__}: {error}"
            continue
        file = ArchiveFile(url, path, found)
        if checksum_suffix and found != checksum:
            refusal = f"SHA-256 is {found}, its checksum file says {checksum}"
        elif not checksum_suffix and (fault := await asyncio.to_thread(file.fault)):
            refusal = fault
        else:
            return file
    raise VenueError(f"{shown(url)}: {refusal}")


def folder_path(url: str) -> Path:
    return Path(unquote(url.removeprefix(FOLDER)))


def _of_folder(url: str) -> ArchiveFile:
    """A file that is here already, where it lies."""
    path = folder_path(url)
    try:
        with path.open("rb") as content:
            file = ArchiveFile(url, path, hashlib.file_digest(content, "sha256").hexdigest())
    except FileNotFoundError:
        raise ArchiveMissing(f"{url}: the folder has no such file") from None
    except OSError as error:
        raise VenueError(f"{url}: {error.strerror}") from None
    if fault := file.fault():
        raise VenueError(f"{url}: {fault}")
    return file


async def _checksum(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(url, timeout=TIMEOUT) as answer:
        _require_found(answer, url)
        text = (await answer.content.read(CHECKSUM_BYTES_MAX)).decode("ascii", "replace")
    return text.partition(" ")[0].strip().lower()


async def _download(session: aiohttp.ClientSession, url: str, path: Path) -> str:
    """The SHA-256 of what is in ``path`` now."""
    digest, size = hashlib.sha256(), 0
    async with session.get(url, timeout=TIMEOUT) as answer:
        _require_found(answer, url)
        with path.open("wb") as file:
            async for part in answer.content.iter_chunked(READ_BYTES):
                size += len(part)
                if size > ARCHIVE_BYTES_MAX:
                    raise VenueError(f"{shown(url)}: larger than {ARCHIVE_BYTES_MAX} bytes")
                digest.update(part)
                file.write(part)
    return digest.hexdigest()


def _require_found(answer: aiohttp.ClientResponse, url: str) -> None:
    if answer.status == 404:
        raise ArchiveMissing(f"{shown(url)}: the archive has no such file")
    answer.raise_for_status()


def _blocks(lines: Iterator[bytes], bytes_max: int) -> Iterator[tuple[int, int, bytes]]:
    """(first line, last line, bytes), lines counted from 1."""
    block: list[bytes] = []
    size, first, number = 0, 1, 0
    for number, line in enumerate(lines, 1):
        if size + len(line) > bytes_max:
            yield first, number - 1, b"".join(block)
            block, size, first = [], 0, number
        block.append(line)
        size += len(line)
    if block:
        yield first, number, b"".join(block)
