"""What a venue says of a connection, by tables: its steps, its refusals, its errors.

A control message is an event that is left aside under its name (``Ignored``), with what follows from it beside it: the
next thing to send, or a ``Fault``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from etl.adapter.contract import Fault, FaultKind, Ignored, Outcome, Reply, Subscription

Step = Callable[[Subscription], Reply] | FaultKind | None
"""What a word of the venue calls for: something to send, a ``Fault`` to tell, or nothing."""


class Handshake:
    """The conversation of one connection. ``steps``: word → what it calls for. ``READY`` is told once; nothing is sent
    where nobody subscribed, as when raw frames are read."""

    def __init__(self, steps: Mapping[str, Step]) -> None:
        self._steps = steps
        self._is_ready = False
        self.subscription: Subscription | None = None

    def knows(self, word: str) -> bool:
        return word in self._steps

    def take(self, name: str, word: str, reason: str = "", index: int = 0) -> list[Outcome]:
        """The control message called ``name``, whose ``word`` is one of the steps."""
        step, said = self._steps[word], None
        if isinstance(step, FaultKind):
            was_ready, self._is_ready = self._is_ready, self._is_ready or step is FaultKind.READY
            said = None if was_ready and step is FaultKind.READY else Fault(step, word, reason)
        elif step is not None and self.subscription is not None:
            return told(name, index, step(self.subscription))
        return told(name, index, said)


def told(name: str, index: int, *said: Reply | Fault | None) -> list[Outcome]:
    """The control message called ``name``, with what it says or calls for."""
    return [Ignored(name, index), *(one for one in said if one is not None)]


def kind_of_words(words: Sequence[tuple[str, FaultKind]], said: str) -> FaultKind | None:
    """The first of ``words`` (small letters, the more telling first) that occurs in what the venue said."""
    text = said.lower()
    return next((kind for part, kind in words if part in text), None)
