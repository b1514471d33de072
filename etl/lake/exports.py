"""How far each topic is exported, and what an export is about to write: a log of commits beside the tables.

    _exports/00000000000000000007.json              commit 7: offsets and planned ranges of one topic
    _exports/00000000000000000007.checkpoint.json   the whole state after commit 7, so that readers start there

A range is planned here before its files are made, so that a retry makes the same ones; then each table is committed
with its files and, as ``txn``, the offset that it has reached; then the offsets follow here. What a table has reached
is the table's own word: a range of which it has a part is written again without that part.

A commit is one object that is created only if its number is free: of two writers that began from the same state one
fails.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from copy import deepcopy

import msgspec
from msgspec import Struct

from etl.errors import StoreError
from etl.lake.log import Conflict
from etl.lake.storage import Storage

FOLDER = "_exports"
COMMITS_PER_CHECKPOINT = 20
CHECKPOINTS_KEPT = 2
UNTIL = "until/"
"""Before a topic's id: as ``txn`` of a table, what was published before then is in that version of it."""


class Range(Struct, frozen=True):
    """Offsets [start, end) of one partition of the topic."""

    partition: int
    start: int
    end: int


class Commit(Struct, frozen=True, omit_defaults=True):
    """Offsets and planned ranges are those of ``topic_id``; of other topics they stay as they are."""

    version: int
    time_ns: int
    topic: str
    topic_id: str
    offsets: dict[int, int] = {}
    leader_epochs: dict[int, int] = {}
    planned: tuple[Range, ...] = ()
    until_ns: int = 0


class Exports(Struct, omit_defaults=True):
    """The state after commit ``version``; 0 is the empty lake. ``topics`` are names by topic id, in the order of their
    first export; ``offsets`` the next to export, by topic id and partition; ``leader_epochs`` under which leader the
    message before it came; ``until_ns``: what was published before then is in the lake."""

    version: int = 0
    time_ns: int = 0
    topics: dict[str, str] = {}
    offsets: dict[str, dict[int, int]] = {}
    leader_epochs: dict[str, dict[int, int]] = {}
    planned: dict[str, tuple[Range, ...]] = {}
    until_ns: dict[str, int] = {}

    def apply(self, commit: Commit) -> None:
        assert commit.version == self.version + 1, (commit.version, self.version)
        self.version, self.time_ns = commit.version, commit.time_ns
        self.topics.setdefault(commit.topic_id, commit.topic)
        self.offsets.setdefault(commit.topic_id, {}).update(commit.offsets)
        self.leader_epochs.setdefault(commit.topic_id, {}).update(commit.leader_epochs)
        self.planned[commit.topic_id] = commit.planned
        if commit.until_ns:
            self.until_ns[commit.topic_id] = commit.until_ns

    def generation(self, topic_id: str) -> int:
        """How many topics were exported before it, of whatever name: one that the settings call otherwise from now on
        goes into the same tables."""
        return list(self.topics).index(topic_id)


class ExportLog:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self) -> Exports:
        """The state after the last commit."""
        names = self._storage.names(FOLDER)
        state = Exports()
        checkpoints = [name for name in names if name.endswith(".checkpoint.json")]
        if checkpoints:
            state = msgspec.json.decode(self._storage.get(f"{FOLDER}/{checkpoints[-1]}"), type=Exports)
        while (name := f"{state.version + 1:020d}.json") in names:
            state.apply(msgspec.json.decode(self._storage.get(f"{FOLDER}/{name}"), type=Commit))
        return state

    def later(self, state: Exports) -> Exports:
        """The state after the last commit, by those after ``state``, which stays as it is, as ``DeltaLog.later``."""
        later = deepcopy(state)
        while (data := self._commit_data(later.version + 1)) is not None:
            later.apply(msgspec.json.decode(data, type=Commit))
        if later.version > state.version:
            return later
        return state if self._commit_data(state.version) is not None else self.read()

    def _commit_data(self, version: int) -> bytes | None:
        try:
            return self._storage.get(f"{FOLDER}/{version:020d}.json")
        except FileNotFoundError:
            return None

    def commit(
        self,
        state: Exports,
        topic: str,
        topic_id: str,
        *,
        offsets: dict[int, int] | None = None,
        leader_epochs: dict[int, int] | None = None,
        planned: Sequence[Range] = (),
        until_ns: int = 0,
    ) -> None:
        """Bring ``state``, and the lake, to the next version.

        Raises ``Conflict`` if another writer was there first; then nothing changed.
        """
        commit = Commit(
            state.version + 1,
            time.time_ns(),
            topic,
            topic_id,
            offsets or {},
            leader_epochs or {},
            tuple(planned),
            until_ns,
        )
        name = f"{FOLDER}/{commit.version:020d}.json"
        if not self._storage.put_new(name, msgspec.json.encode(commit)):
            raise Conflict(f"lake: export commit {commit.version} exists already; another writer runs")
        state.apply(commit)
        if commit.version % COMMITS_PER_CHECKPOINT == 0:
            self._checkpoint(state)

    def begin(self, state: Exports) -> None:
        """Version 1 of a lake that has a history elsewhere. Raises ``StoreError`` if there is a first version."""
        state.version, state.time_ns = 1, time.time_ns()
        name = f"{FOLDER}/{1:020d}.checkpoint.json"
        if self.read().version or not self._storage.put_new(name, msgspec.json.encode(state)):
            raise StoreError("lake: there are exports already")

    def _checkpoint(self, state: Exports) -> None:
        """Write the whole state; drop the commits and checkpoints that no reader needs any more."""
        self._storage.put(f"{FOLDER}/{state.version:020d}.checkpoint.json", msgspec.json.encode(state))
        oldest_kept = state.version - CHECKPOINTS_KEPT * COMMITS_PER_CHECKPOINT
        for name in self._storage.names(FOLDER):
            if int(name.partition(".")[0]) <= oldest_kept:
                self._storage.delete(f"{FOLDER}/{name}")
