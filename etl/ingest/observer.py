"""What a user of the loop (``Intake``) adds to it: overlap, recovery, replay, repair, backfill, ``etl parse``."""

from __future__ import annotations

from etl.adapter.contract import Ignored
from etl.model.records import Quarantined, Record


class Observer:
    """One connection's. This one adds nothing; while ``listens`` is false it is not even asked."""

    listens = False

    def admits(self, event: Record | Quarantined) -> bool:
        """Whether what was found may be published: a record, asked of before it is checked; a gap; an item for the
        quarantine. What is not is not counted."""
        return True

    def judged(self, record: Record, is_good: bool) -> None:
        """An admitted record was published, with its flags, or is kept out. One that was kept out may be good later."""

    def ignored(self, event: Ignored) -> None:
        """An event is left aside on purpose."""


NOBODY = Observer()
