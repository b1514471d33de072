"""``etl/exchanges/known_fields.json`` from the fixtures: ``python -m tests.support.known_fields``. What the file has
already stays: some was seen in recordings only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec

from etl import exchanges
from etl.adapter.unknown_fields import members_of
from tests.support import fixtures

FILE = Path(exchanges.__file__).parent / "known_fields.json"


def frames() -> Iterator[tuple[str, bytes]]:
    """(venue file, frame of a stream that gives records) of all fixtures but the garbled ones."""
    for path in fixtures.paths():
        if ".malformed" not in path.name:
            family = fixtures.feed_of(path).__module__.rpartition(".")[2]
            yield from ((family, line.payload) for line in fixtures.read(path) if _is_read(line))


def _is_read(line: fixtures.FixtureLine) -> bool:
    """What is left aside by name is known by its name alone."""
    is_streamed = not line.endpoint or line.endpoint.startswith("ws")
    return is_streamed and all("kind" in given or "connection_sequence" in given for given in line.gives)


if __name__ == "__main__":
    found: defaultdict[str, defaultdict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    if FILE.exists():
        for venue, events in msgspec.json.decode(FILE.read_bytes()).items():
            for event, members in events.items():
                found[venue][event] |= set(members)
    for venue, frame in frames():
        for event, member in members_of(frame):
            found[venue][event].add(member)
    text = {v: {e: sorted(ms) for e, ms in sorted(events.items())} for v, events in sorted(found.items())}
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(text)) + b"\n")
