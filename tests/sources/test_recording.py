from __future__ import annotations

import gzip
import io
import json
import tracemalloc

import pytest

from etl.errors import EtlError
from etl.model.records import Frame, Source
from etl.sources import recording
from etl.sources.recording import frames, read_lines


def read(data: bytes) -> list[bytes]:
    return list(read_lines(io.BufferedReader(io.BytesIO(data))))


def test_lines_come_without_their_ends_packed_or_not() -> None:
    data = b"one\r\n\ntwo\nthree"
    assert read(data) == read(gzip.compress(data)) == [b"one", b"", b"two", b"three"]
    assert read(b"") == []


@pytest.mark.parametrize("cut", [3, 12, 30, -1])
def test_damaged_gzip_gives_what_was_whole_and_then_an_error(cut: int) -> None:
    packed = gzip.compress(b"line\n" * 50_000)
    with pytest.raises(EtlError, match="damaged or cut"):
        read(packed[:cut])


def test_a_recorded_line_keeps_what_it_knows_and_a_bare_one_is_the_frame() -> None:
    lines = [
        json.dumps({"receive_time_ns": 5, "kind": "ws", "connection": "a", "frame": '{"x":"é"}'}).encode(),
        json.dumps({"receive_time_ns": 6, "kind": "rest", "url": "/depth?limit=5", "frame": "[]"}).encode(),
        b'{"stream":"btcusdt@trade"}',
        b"",
        b'{"kind":"ws","frame":{}}',
    ]
    assert list(frames(lines, "binance")) == [
        Frame("binance", "a", 1, "", 5, '{"x":"é"}'.encode(), Source.REPLAY),
        Frame("binance", "", 2, "/depth?limit=5", 6, b"[]", Source.BACKFILL),
        Frame("binance", "", 3, "", 0, lines[2], Source.REPLAY),
        Frame("binance", "", 4, "", 0, b"", Source.REPLAY),
        Frame("binance", "", 5, "", 0, lines[4], Source.REPLAY),
    ]


def test_of_a_packed_line_without_end_no_more_is_unpacked_than_a_line_may_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "LINE_BYTES_MAX", 1 << 20)
    packed = gzip.compress(b"short\n" + bytes(64 << 20))
    tracemalloc.start()
    try:
        found = read_lines(io.BufferedReader(io.BytesIO(packed)))
        assert next(found) == b"short"
        with pytest.raises(EtlError, match="line 2 has more than 1048576 bytes"):
            next(found)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
