from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import itertools
import tracemalloc
import zipfile
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from etl.errors import VenueError
from etl.exchanges import load
from etl.model.records import Frame, Source, Trade
from etl.sources import archive

LINES = b"".join(
    b"%d,61837.6300%04d,0.02000000,1236.75260000,%d,True,True\n" % (1000 + n, n, 1735689600000000 + n)
    for n in range(300)
)
PATH = "/data/spot/daily/trades/BTCUSDT/BTCUSDT-trades-2025-01-01.zip"


def zipped(content: bytes, name: str = "BTCUSDT-trades-2025-01-01.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(name, content)
    return file.getvalue()


def checksum_of(content: bytes) -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {PATH.rpartition('/')[2]}\n".encode()


def fetched(
    files: Mapping[str, bytes], directory: Path, path: str = PATH, checksum: str = ".CHECKSUM"
) -> archive.ArchiveFile:
    """What ``archive.fetch`` makes of a server that has just these files."""

    async def serve(request: web.Request) -> web.Response:
        content = files.get(request.path)
        return web.Response(status=404) if content is None else web.Response(body=content)

    async def run() -> archive.ArchiveFile:
        application = web.Application()
        application.router.add_get("/{path:.*}", serve)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as session:
                return await archive.fetch(
                    session, f"http://127.0.0.1:{runner.addresses[0][1]}{path}", directory, checksum
                )
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def test_blocks_are_whole_lines_that_together_are_the_file(tmp_path: Path) -> None:
    content = zipped(LINES)
    file = fetched({PATH: content, f"{PATH}.CHECKSUM": checksum_of(content)}, tmp_path)
    blocks = list(file.blocks(1_000))
    assert b"".join(block.payload for block in blocks) == LINES
    assert all(len(block.payload) <= 1_000 and block.payload.endswith(b"\n") for block in blocks)
    ranges = [block.endpoint.partition("#lines=")[2].partition(";")[0].split("-") for block in blocks]
    assert next(int(number) for number in ranges[0]) == 1
    assert all(int(after[0]) == int(before[1]) + 1 for before, after in itertools.pairwise(ranges))
    assert int(ranges[-1][1]) == 300
    assert blocks[0].endpoint.endswith(f";sha256={hashlib.sha256(content).hexdigest()}")


def test_the_venues_parser_reads_a_block_by_its_endpoint_in_microseconds(tmp_path: Path) -> None:
    content = zipped(LINES)
    file = fetched({PATH: content, f"{PATH}.CHECKSUM": checksum_of(content)}, tmp_path)
    parser = load("binance")()
    records = [
        outcome
        for number, block in enumerate(file.blocks(5_000), 1)
        for outcome in parser.parse(
            Frame("binance", "c", number, block.endpoint, 1, block.payload, Source.BACKFILL)
        )
    ]
    assert len(records) == 300
    assert all(isinstance(record, Trade) for record in records)
    assert records[7].record_key == "1007"  # type: ignore[union-attr]
    assert records[7].event_time_ns == 1_735_689_600_000_007_000  # type: ignore[union-attr]


def test_a_file_that_is_not_what_its_checksum_says_is_refused(tmp_path: Path) -> None:
    content = zipped(LINES)
    with pytest.raises(VenueError, match="SHA-256"):
        fetched({PATH: content[:-1] + b"x", f"{PATH}.CHECKSUM": checksum_of(content)}, tmp_path)


GZIPPED = "/trading/BTCUSDT/BTCUSDT2026-01-01.csv.gz"


@pytest.mark.parametrize(("path", "content"), [(PATH, zipped(LINES)), (GZIPPED, gzip.compress(LINES))])
def test_a_file_without_a_checksum_is_held_against_that_of_its_packing_before_a_line_is_given(
    tmp_path: Path, path: str, content: bytes
) -> None:
    file = fetched({path: content}, tmp_path, path, "")
    (block,) = file.blocks(1 << 20)
    assert block.payload == LINES
    name = path.rpartition("/")[2].removesuffix(".gz").replace(".zip", ".csv")
    assert block.endpoint.endswith(f"/{name}#lines=1-300;sha256={hashlib.sha256(content).hexdigest()}")
    middle = len(content) // 2
    broken = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (broken, content[: middle + middle // 2], b"<html>busy</html>"):
        with pytest.raises(VenueError, match=path.rpartition("/")[2]):
            fetched({path: damaged}, tmp_path, path, "")


def test_a_file_that_the_archive_does_not_have_is_told_from_other_errors(tmp_path: Path) -> None:
    with pytest.raises(archive.ArchiveMissing, match="no such file"):
        fetched({}, tmp_path)


def test_what_is_no_zip_of_one_file_is_refused(tmp_path: Path) -> None:
    content = b"not a zip"
    file = fetched({PATH: content, f"{PATH}.CHECKSUM": checksum_of(content)}, tmp_path)
    with pytest.raises(VenueError, match="not a zip"):
        list(file.blocks(1_000))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_of_a_line_without_end_no_more_is_unpacked_than_a_line_may_have(tmp_path: Path, method: int) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", method) as made:
        made.writestr("bomb.csv", b"1,2\n" + bytes(64 << 20))
    tracemalloc.start()
    try:
        blocks = archive.ArchiveFile("bomb.zip", path, "").blocks(1 << 20)
        with pytest.raises(VenueError, match=r"bomb\.zip: line 2 has more than 1048576 bytes"):
            list(blocks)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_way_of_packing_that_unpacks_without_bound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as made:
        made.writestr("bomb.csv", b"1,2\n")
    with pytest.raises(VenueError, match="compressed by method 14"):
        list(archive.ArchiveFile("bomb.zip", path, "").blocks(1 << 20))
