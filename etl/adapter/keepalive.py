"""Bare answers to a keep-alive: told from messages here, so that no parser has to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from etl.adapter.contract import PONG, Exchange, Ignored, Outcome
from etl.model.records import Frame

_IGNORED = (Ignored(PONG),)


def parse_of(parser: Exchange) -> Callable[[Frame], Sequence[Outcome]]:
    """``parser.parse``; for a venue with a bare answer to its keep-alive, with that counted as ``PONG`` instead."""
    parse, keepalive = parser.parse, parser.keepalive
    if keepalive is None or not keepalive.answer:
        return parse
    answer = keepalive.answer.encode()
    return lambda frame: _IGNORED if frame.payload == answer else parse(frame)
