"""Frames larger than a message: whoever reads the topic, or the lake, has the frame that came."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import msgspec
import pytest

from etl.errors import WireError
from etl.lake import raw_frames
from etl.model.records import Frame, Source
from etl.settings import Settings
from etl.sinks.export import archive
from etl.transports import frames as frames_module
from etl.transports.frame_headers import FrameHeaders, frame_headers
from etl.transports.frames import (
    HEADER_ENCODING,
    TOGETHER_BYTES_MAX,
    TOGETHER_FRAMES_MAX,
    FrameJoiner,
    Piece,
    frames_of,
    pieces_of,
    raw_messages,
    together,
    with_whole_frames,
)
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.transports.message import Message
from etl.transports.publisher import Headers
from etl.transports.transport import read_topic, transport_of

BYTES_MAX = 100_000
NOW_NS = 1_790_000_000_000_000_000
COMPRESSIBLE = b'{"price":"1.50000000"}' * 20_000
RANDOM = os.urandom(3 * BYTES_MAX)


def frame(number: int, payload: bytes, connection: str = "c1") -> Frame:
    return Frame("binance", connection, number, "wss://x", NOW_NS + number, payload, Source.STREAM)


def pieces(*frames: Frame) -> list[Piece]:
    return [
        Piece(msgspec.structs.replace(one, payload=value), (headers.get(HEADER_ENCODING) or b"").decode())
        for one in frames
        for value, headers in raw_messages(one, BYTES_MAX)
    ]


def joined(given: Sequence[Piece]) -> list[Frame]:
    joiner = FrameJoiner()
    return [whole for piece in given if (whole := joiner.add(piece)) is not None]


def test_what_fits_lies_there_as_it_came_and_what_does_not_is_compressed_then_cut() -> None:
    fits, large, huge = frame(1, b"x" * BYTES_MAX), frame(2, COMPRESSIBLE), frame(3, RANDOM)
    (whole,) = raw_messages(fits, BYTES_MAX)
    assert (whole[0], HEADER_ENCODING in whole[1]) == (fits.payload, False)
    ((packed, headers),) = raw_messages(large, BYTES_MAX)
    assert len(packed) < BYTES_MAX
    assert headers[HEADER_ENCODING] == b"zstd %d" % len(COMPRESSIBLE)
    parts = list(raw_messages(huge, BYTES_MAX))
    size = len(RANDOM)
    assert [m[1][HEADER_ENCODING] for m in parts] == [b"zstd %d %d/4" % (size, n) for n in (1, 2, 3, 4)]
    assert max(len(value) for value, _ in parts) == BYTES_MAX
    assert joined(pieces(fits, large, huge)) == [fits, large, huge]


def test_parts_of_two_connections_may_lie_between_each_other() -> None:
    one, other = frame(1, RANDOM), frame(1, RANDOM[::-1], "c2")
    mixed = [piece for pair in zip(pieces(one), pieces(other), strict=True) for piece in pair]
    assert joined(mixed) == [one, other]


def test_a_frame_of_which_a_part_is_missing_gives_nothing_and_costs_no_other() -> None:
    before, cut, after = frame(1, b"a"), frame(2, RANDOM), frame(3, b"b")
    parts = pieces(cut)
    for missing in range(len(parts)):
        kept = [part for number, part in enumerate(parts) if number != missing]
        assert joined([*pieces(before), *kept, *pieces(after)]) == [before, after]


@pytest.mark.parametrize(
    "encoding",
    ["zstd", "zstd x", "zstd 5 0/1", "zstd 5 2/1", "lz4 5", "zstd 5 1", f"zstd {1 << 40}", "zstd -1"],
)
def test_an_encoding_that_nobody_writes_is_refused(encoding: str) -> None:
    with pytest.raises(WireError, match="encoding"):
        FrameJoiner().add(Piece(frame(1, b"x"), encoding))


def test_bytes_that_cannot_be_unpacked_are_refused() -> None:
    with pytest.raises(WireError, match="frame 1 of c1"):
        FrameJoiner().add(Piece(frame(1, b"no zstd"), "zstd 5"))


def test_so_many_connections_may_have_a_frame_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames_module, "JOINING_MAX", 1)
    first, second = pieces(frame(1, RANDOM)), pieces(frame(1, RANDOM, "c2"))
    assert joined([first[0], second[0], *first[1:], *second[1:]]) == [frame(1, RANDOM, "c2")]


def test_an_archive_has_whole_frames_and_the_parts_of_those_that_it_does_not_have_whole() -> None:
    small, cut, whole = frame(1, b"a"), frame(1, RANDOM, "c2"), frame(2, RANDOM)
    parts = pieces(cut)[:2]
    given = list(enumerate([*pieces(small), *parts, *pieces(whole)]))
    assert with_whole_frames(given) == [
        (0, Piece(small)),
        (1, parts[0]),
        (2, parts[1]),
        (6, Piece(whole)),
    ]


READ = [b"{}", b"", b"[1,2]"]


def message(value: bytes, number: int = 7, **headers: bytes) -> Message:
    of_frame = {**frame_headers(frame(number, b"")), **headers}
    return Message("raw", 0, 0, b"c1", value, lambda: list(of_frame.items()), 0)


def of_read(number: int, payloads: Sequence[bytes]) -> Message:
    made = FrameHeaders("binance", "wss://x", Source.STREAM).of_several(number, NOW_NS + number, payloads)
    return Message("raw", 0, 0, b"c1", b"".join(payloads), lambda: list(made.items()), 0)


def test_the_frames_of_one_message_count_on_from_the_number_of_its_first() -> None:
    found = list(frames_of([message(b"old", 6), of_read(7, READ), message(b"again", 10)]))
    received = [NOW_NS + number for number in (6, 7, 7, 7, 10)]
    assert [one.payload for one in found] == [b"old", *READ, b"again"]
    assert [one.frame_sequence for one in found] == [6, 7, 8, 9, 10]
    assert [one.receive_time_ns for one in found] == received
    assert {(one.connection_id, one.endpoint, one.source) for one in found} == {
        ("c1", "wss://x", Source.STREAM)
    }


def test_a_message_of_several_frames_between_the_parts_of_another_connection_s_joins_nothing() -> None:
    parts = pieces(frame(1, RANDOM, "c2"))
    given = [*parts[:2], *pieces_of(of_read(7, READ)), *parts[2:]]
    assert [one.payload for one in joined(given)] == [*READ, RANDOM]


@pytest.mark.parametrize(
    "frame_bytes",
    [b"", b"3", b"8", b"2 0 6", b"-2 9", b"7 0 x", b"2,5", b"07" * 6, b"7" + b" 0" * TOGETHER_FRAMES_MAX],
)
def test_lengths_that_nobody_writes_are_refused(frame_bytes: bytes) -> None:
    assert list(pieces_of(message(b"".join(READ), frame_bytes=b"2 0 5")))
    with pytest.raises(WireError, match="frame_bytes"):
        pieces_of(message(b"".join(READ), frame_bytes=frame_bytes))


def test_numbers_beyond_every_column_are_refused() -> None:
    last = (1 << 63) - 1
    with pytest.raises(WireError, match="frame_bytes"):
        pieces_of(message(b"ab", frame_bytes=b"1 1", frame_sequence=b"%d" % last))


def test_frames_share_a_message_up_to_its_bytes_and_their_number() -> None:
    assert list(together([], 10)) == []
    assert list(together([b"a" * 4, b"b" * 6, b"c", b"d" * 30, b"", b"e" * 10], 10)) == [
        [b"a" * 4, b"b" * 6],
        [b"c"],
        [b"d" * 30],
        [b"", b"e" * 10],
    ]
    many = [b"x"] * (2 * TOGETHER_FRAMES_MAX + 1)
    assert [len(one) for one in together(many, 1 << 20)] == [TOGETHER_FRAMES_MAX, TOGETHER_FRAMES_MAX, 1]
    large = [b"x" * (TOGETHER_BYTES_MAX // 2)] * 3
    assert [len(one) for one in together(large, 1 << 20)] == [2, 1]


def test_an_archive_has_a_row_for_each_frame_of_a_message() -> None:
    several = [(4, piece) for piece in pieces_of(of_read(7, READ))]
    (last,) = pieces(frame(10, b"z"))
    whole = frame(1, RANDOM, "c2")
    given = [*((3, part) for part in pieces(whole)[:-1]), *several, (5, pieces(whole)[-1]), (6, last)]
    assert with_whole_frames(given) == [*several, (5, Piece(whole)), (6, last)]


@pytest.mark.integration
def test_who_reads_the_topic_or_the_lake_has_the_frame_that_came(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(kafka=True)
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    sent = [frame(1, b"a"), frame(2, RANDOM), frame(3, COMPRESSIBLE), frame(4, b"b")]
    messages: list[tuple[bytes, Headers]] = [each for one in sent for each in raw_messages(one, BYTES_MAX)]
    read = [
        msgspec.structs.replace(frame(5, payload), frame_sequence=5 + n) for n, payload in enumerate(READ)
    ]
    of_several = FrameHeaders("binance", "wss://x", Source.STREAM).of_several(5, NOW_NS + 5, READ)
    messages.append((b"".join(READ), of_several))
    sent += read
    for number, (value, headers) in enumerate(messages):
        publisher.publish(settings.topics.raw, b"c1", value, headers)
        publisher.flush(30.0)
        if number in (2, 5):  # within a frame, and after it
            archive(settings)
    assert list(frames_of(read_topic(settings, settings.topics.raw, "test"))) == sent
    with transport_of(settings).reader(settings.topics.raw, "test") as reader:
        assert list(frames_of(reader.read_all(tail_max=5))) == sent[2:]  # begins within the second
    archive(settings)
    assert list(raw_frames.frames(settings, "binance", 0, 1 << 62)) == sent
