"""Recorded Binance frames again and again, ids contiguous from pass to pass, times of now. Pure but for the file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.simulator.recording import lines

FRAMES_PER_MS = 100
"""The pace at which the venue's times go on. Served faster or slower, its clock only seems to drift."""
_SHORT_MAX = 125
_TEXT = 0x81
_NUMBERED = re.compile(r'("(?:t|a|f|l|u|U|E|T)":)(\d+)')


class Template(Struct, frozen=True):
    """One recorded frame: its text between the numbers that move on, and the numbers by their names."""

    texts: tuple[str, ...]
    numbers: tuple[tuple[str, int], ...]


class Recorded(Struct, frozen=True):
    """Templates in recorded order, by how much a pass moves each name's ids, and the book they start from."""

    templates: tuple[Template, ...]
    moves: dict[str, int]
    snapshot: str


def recorded(path: Path, channels: Sequence[str]) -> Recorded:
    """The frames of ``channels`` (``trade``, ``bookTicker``, ``depth@100ms``) in the recording at ``path``."""
    frames: list[str] = []
    snapshot = ""
    for line in lines(path):
        if line.kind != "ws":
            snapshot = snapshot or line.frame
        elif _channel(line.frame) in channels:
            frames.append(line.frame)
    return _looped([_template(frame) for frame in frames], snapshot)


def as_aggregates(path: Path) -> Recorded:
    """The recorded trades, each as the aggregate of itself alone: cryptofeed reads no other trades of Binance."""
    frames = []
    for line in lines(path):
        if line.kind == "ws" and _channel(line.frame) == "trade":
            envelope = msgspec.json.decode(line.frame)
            trade = envelope["data"]
            data = {"e": "aggTrade", "E": trade["E"], "s": trade["s"], "a": trade["t"], "p": trade["p"]}
            data |= {"q": trade["q"], "f": trade["t"], "l": trade["t"], "T": trade["T"]}
            data |= {"m": trade["m"], "M": trade["M"]}
            stream = envelope["stream"].replace("@trade", "@aggTrade")
            frames.append(msgspec.json.encode({"stream": stream, "data": data}).decode())
    return _looped([_template(frame) for frame in frames], "")


def frames(
    recording: Recorded, count: int, start_ms: int, frames_per_ms: float = FRAMES_PER_MS
) -> Iterator[bytes]:
    """``count`` frames; the n-th carries the time ``start_ms + n / frames_per_ms``."""
    made, moved = 0, 0
    while True:
        shift = {name: moved * move for name, move in recording.moves.items()}
        for template in recording.templates:
            if made == count:
                return
            now_ms = start_ms + int(made / frames_per_ms)
            parts = [template.texts[0]]
            for text, (name, number) in zip(template.texts[1:], template.numbers, strict=True):
                parts.append(str(now_ms if name in "ET" else number + shift[name]))
                parts.append(text)
            yield "".join(parts).encode()
            made += 1
        moved += 1


def write(path: Path, payloads: Iterable[bytes]) -> None:
    """``payloads`` as unmasked websocket frames, one behind the other."""
    with path.open("wb", buffering=1 << 20) as file:
        for payload in payloads:
            file.write(header(len(payload)) + payload)


def of_symbols(recording: Recorded, symbols: Sequence[str]) -> Recorded:
    """Each frame once for every one of ``symbols``, in turn. The recording is of BTCUSDT."""
    names = [(symbol, symbol.lower()) for symbol in symbols]
    templates = [
        Template(
            tuple(text.replace("BTCUSDT", upper).replace("btcusdt", lower) for text in item.texts),
            item.numbers,
        )
        for item in recording.templates
        for upper, lower in names
    ]
    return Recorded(tuple(templates), recording.moves, recording.snapshot)


def header(length: int) -> bytes:
    if length <= _SHORT_MAX:
        return bytes((_TEXT, length))
    if length < 1 << 16:
        return bytes((_TEXT, 126)) + length.to_bytes(2)
    return bytes((_TEXT, 127)) + length.to_bytes(8)


def _channel(frame: str) -> str:
    return frame.split('"', 4)[3].partition("@")[2]


def _template(frame: str) -> Template:
    head, mark, levels = frame.partition('"b":[')  # behind it are a depth update's levels: no ids
    pieces = _NUMBERED.split(head)
    texts = [pieces[0] + pieces[1]] if len(pieces) > 1 else pieces
    numbers = []
    for place in range(1, len(pieces), 3):
        numbers.append((pieces[place][1], int(pieces[place + 1])))
        texts.append(pieces[place + 2] + (pieces[place + 3] if place + 3 < len(pieces) else ""))
    return Template((*texts[:-1], texts[-1] + mark + levels), tuple(numbers))


def _looped(templates: Sequence[Template], snapshot: str) -> Recorded:
    """Book updates and quotes share one run of ids, trades have another; each pass goes on where it ended.

    Quotes recorded after the last book update are left out: the next pass's updates go on from there."""
    chain = [dict(item.numbers) for item in templates if "U" in dict(item.numbers)]
    quotes = [dict(item.numbers) for item in templates if dict(item.numbers).keys() == {"u"}]
    first_update = chain[0]["U"] if chain else min((numbers["u"] for numbers in quotes), default=0)
    last_update = chain[-1]["u"] if chain else max((numbers["u"] for numbers in quotes), default=0)
    trades = [number for item in templates for name, number in item.numbers if name in "ta"]
    moves = dict.fromkeys("uU", last_update - first_update + 1)
    moves |= dict.fromkeys("tafl", max(trades, default=0) - min(trades, default=0) + 1)
    kept = tuple(item for item in templates if dict(item.numbers).get("u", 0) <= last_update)
    return Recorded(kept, moves, _before(snapshot, first_update))


def _before(snapshot: str, first_update: int) -> str:
    """The recorded book, at the moment before the first update."""
    if not snapshot:
        return ""
    return msgspec.json.encode(msgspec.json.decode(snapshot) | {"lastUpdateId": first_update - 1}).decode()
