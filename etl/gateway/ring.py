"""The newest messages of the topic, by partition: who comes back soon gets on from here, without a read of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from itertools import islice
from operator import attrgetter

from etl.gateway.entry import OVERHEAD_BYTES, Entry

_number = attrgetter("number")


class Ring:
    """At most ``entries_max`` and ``bytes_max``; the oldest go. ``starts``: where each partition begins to be kept."""

    def __init__(self, starts: Mapping[int, int], entries_max: int, bytes_max: int) -> None:
        self.ends = dict(starts)
        """By partition, the offset after the last that was read."""
        self._starts = dict(starts)
        self._entries: dict[int, deque[Entry]] = {partition: deque() for partition in starts}
        self._order: deque[int] = deque()
        """The partition of each entry, oldest first."""
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._read = 0

    def __len__(self) -> int:
        return len(self._order)

    def grow(self, partition: int) -> None:
        """A new one is kept too, from its beginning on."""
        self.ends[partition] = self._starts[partition] = 0
        self._entries[partition] = deque()

    def add(self, entry: Entry) -> None:
        self._read += 1
        entry.number = self._read
        self.ends[entry.partition] = entry.offset + 1
        self._entries[entry.partition].append(entry)
        self._order.append(entry.partition)
        self._bytes += OVERHEAD_BYTES + len(entry.value)
        while self._order and (len(self._order) > self._entries_max or self._bytes > self._bytes_max):
            self._drop()

    def skip(self, partition: int, offset: int) -> None:
        """A message that is no record was read there."""
        self.ends[partition] = offset + 1

    def reaches(self, offsets: Mapping[int, int]) -> bool:
        """Whether all that came from ``offsets`` on is here; of a partition that is not in them, for it is newer, from
        its beginning."""
        return all(offsets.get(partition, 0) >= start for partition, start in self._starts.items())

    def since(self, offsets: Mapping[int, int]) -> list[Entry]:
        """What came from ``offsets`` on, in the order in which it was read."""
        found = [
            entry
            for partition, entries in self._entries.items()
            for entry in _from(entries, offsets.get(partition, 0))
        ]
        found.sort(key=_number)
        return found

    def _drop(self) -> None:
        partition = self._order.popleft()
        dropped = self._entries[partition].popleft()
        self._starts[partition] = dropped.offset + 1
        self._bytes -= OVERHEAD_BYTES + len(dropped.value)


def _from(entries: deque[Entry], offset: int) -> list[Entry]:
    """Offsets rise; where messages were no records, by more than one."""
    if not entries or entries[-1].offset < offset:
        return []
    newest_first = []
    for entry in islice(reversed(entries), len(entries)):
        if entry.offset < offset:
            break
        newest_first.append(entry)
    newest_first.reverse()
    return newest_first
