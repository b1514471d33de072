"""Where a group's member reads on, for the transports whose client does not keep that itself."""

from __future__ import annotations

from collections.abc import Sequence

from etl.transports.group import Place

Key = tuple[str, int]
"""Topic and partition."""


class Positions:
    """The part of ``Group`` that only moves positions."""

    def __init__(self) -> None:
        self._positions: dict[Key, int] = {}
        """Of what is read: the next offset."""
        self._paused: set[Key] = set()

    def begin(self, places: Sequence[Place]) -> None:
        for place in places:
            self._positions[place.topic, place.partition] = place.offset
            self._paused.discard((place.topic, place.partition))

    def begin_again(self, place: Place) -> None:
        self._positions[place.topic, place.partition] = place.offset

    def end(self, places: Sequence[Place]) -> None:
        for place in places:
            self._leave_off((place.topic, place.partition))

    def pause(self, place: Place) -> None:
        self._paused.add((place.topic, place.partition))

    def resume(self, place: Place) -> None:
        self.begin([place])

    def _leave_off(self, key: Key) -> None:
        self._positions.pop(key, None)
        self._paused.discard(key)

    def _reading(self) -> list[Key]:
        """All that is not paused."""
        return [key for key in self._positions if key not in self._paused]
