"""Raw frames of a range as the file of a session, which ``etl replay serve`` serves in the venue's own protocol."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from etl.errors import UsageError
from etl.ingest.replay import frames_received
from etl.model.records import Frame, Source
from etl.settings import Settings

FRAMES_MAX = 3_000_000
"""Sorted in memory, by the time of receipt: connections lie on several partitions."""


class Written(Struct, frozen=True):
    frames: int
    first_ns: int


def write_session(
    settings: Settings, exchange: str, from_ns: int, to_ns: int, archived: bool, path: Path
) -> Written:
    """Raises ``UsageError`` where there is nothing, or too much."""
    found: list[tuple[int, str, int, bytes]] = []
    for frame in _served(frames_received(settings, exchange, from_ns, to_ns, archived)):
        if len(found) >= FRAMES_MAX:
            raise UsageError(f"{exchange}: more than {FRAMES_MAX:,} frames; serve a shorter range")
        line = msgspec.json.encode(line_of(exchange, frame))
        found.append((frame.receive_time_ns, frame.connection_id, frame.frame_sequence, line))
    if not found:
        raise UsageError(
            f"{exchange}: no raw frames were received in this range; --archived reads the lake's"
        )
    found.sort()
    with path.open("wb") as file:
        file.writelines(line + b"\n" for *_, line in found)
    return Written(len(found), found[0][0])


def _served(frames: Iterator[Frame]) -> Iterator[Frame]:
    """What came on sockets, and every answer to a request; not what a replay parsed again."""
    return (frame for frame in frames if frame.source is Source.STREAM or not _is_socket(frame))


def _is_socket(frame: Frame) -> bool:
    return frame.endpoint.startswith("ws")


def line_of(exchange: str, frame: Frame) -> dict[str, Any]:
    """As ``etl/simulator/recording.py`` reads it. What was received of a simulator has the venue's name in its path."""
    line: dict[str, Any] = {
        "receive_time_ns": frame.receive_time_ns,
        "kind": "ws" if _is_socket(frame) else "rest",
    }
    try:
        line["frame"] = frame.payload.decode()
    except UnicodeDecodeError:
        line |= {"frame": "", "binary": base64.b64encode(frame.payload).decode()}
    if not _is_socket(frame):
        parts = urlsplit(frame.endpoint)
        line["url"] = parts._replace(path=parts.path.removeprefix(f"/{exchange}")).geturl()
    return line
