"""Whether a venue has answered each stream of a subscription, where it answers them one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from etl.adapter.contract import Exchange, Fault, FaultKind

ANSWER_WITHIN_S = 15.0
"""From the opening of a connection, its login included, or from when the last subscription was sent."""
POLL_S = 0.25
REPORT_EVERY_S = 60.0
"""So that the incident lasts as long as its cause."""
NAMES_MAX = 20
"""Streams that a report names."""


async def watch_answers(
    parser: Exchange, is_subscribing: Callable[[], bool], report: Callable[[Fault], None]
) -> None:
    """Until each stream is granted or refused. What is neither in time is reported by name, as it would be mute in
    silence. While ``is_subscribing``, a part of them has not been asked for yet."""
    while is_subscribing():  # noqa: ASYNC110  a timer sends, and tells nobody
        await asyncio.sleep(POLL_S)
    wait_s = ANSWER_WITHIN_S
    while True:
        await asyncio.sleep(wait_s)
        streams = parser.unanswered()
        if not streams:
            return
        names = ", ".join(streams[:NAMES_MAX]) + (", …" if len(streams) > NAMES_MAX else "")
        reason = f"neither granted nor refused within {ANSWER_WITHIN_S:g} s: {names}"
        report(Fault(FaultKind.UNANSWERED, f"{len(streams)} streams", reason))
        wait_s = REPORT_EVERY_S
