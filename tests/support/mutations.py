"""Frames made wrong on purpose: by bytes, and by structure. Seeded, so that a failure can be repeated."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 1e300, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(2**63) - 1, 9_999_999_999_999,
    10_382_000_000_000, "", " ", "0", "-1", "NaN", "Infinity", "1e5", "2e-8", "1e999", "1_0", "١", "1.2.3", "9" * 50,
    "0." + "1" * 40, "\ud800", "\x00", "x" * 300, "BTCUSDT", "trade", "2299-01-01T00:00:00Z", "1970-01-01T00:00:00Z",
    [], {}, [[]], [None], [["1"]], [["1", "2", "3"]], {"e": "trade"}, {"T": "t"}, {"ev": "T"},
)  # fmt: skip


def mutated(frame: str | bytes, seed: int) -> bytes:
    """``frame`` with one to three things wrong."""
    generator = random.Random(seed)
    payload = frame if isinstance(frame, bytes) else frame.encode("utf-8", "surrogatepass")
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        payload = generator.choice(_MUTATIONS)(payload, generator)
    return payload


def wrong_value(element: Any, generator: random.Random) -> Any:
    """``element`` of a frame with one value replaced, removed, doubled or swapped for another."""
    changed = json.loads(json.dumps(element))
    places = _places(changed)
    if not places:
        return generator.choice(ODD_VALUES)
    parent, key = generator.choice(places)
    action = generator.random()
    if action < 0.7:
        parent[key] = generator.choice(ODD_VALUES)
    elif action < 0.85:
        del parent[key]
    else:
        other, place = generator.choice(places)
        parent[key] = json.loads(json.dumps(other[place])) if _holds(other, place) else None
    return changed


def _holds(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def _places(value: Any) -> list[tuple[Any, Any]]:
    own: list[tuple[Any, Any]]
    if isinstance(value, dict):
        own = [(value, key) for key in value]
        return own + [place for item in value.values() for place in _places(item)]
    if isinstance(value, list):
        own = [(value, index) for index in range(len(value))]
        return own + [place for item in value for place in _places(item)]
    return []


def _structure(payload: bytes, generator: random.Random) -> bytes:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError):
        return _flip(payload, generator)
    return json.dumps(wrong_value(value, generator), separators=(",", ":")).encode()


def _flip(payload: bytes, generator: random.Random) -> bytes:
    if not payload:
        return b"\x00"
    at = generator.randrange(len(payload))
    return payload[:at] + bytes([generator.randrange(256)]) + payload[at + 1 :]


def _cut(payload: bytes, generator: random.Random) -> bytes:
    return payload[: generator.randrange(len(payload) + 1)]


def _drop(payload: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(payload) + 1)
    return payload[:at] + payload[at + generator.randrange(1, 9) :]


def _double(payload: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(payload) + 1)
    return payload[:at] + payload[max(0, at - generator.randrange(1, 30)) :]


def _nest(payload: bytes, generator: random.Random) -> bytes:
    depth = generator.choice((1, 2, 2_000))
    return b"[" * depth + payload + b"]" * depth


_MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_structure,) * 6,
    *(_flip,) * 3,
    _cut,
    _drop,
    _double,
    _nest,
)
