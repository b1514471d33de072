"""The log of one Delta table: read, committed to, checkpointed, repaired.

A commit is one object that is created only if its number is free. Whoever finds it taken reads what the others wrote
and tries the next number, unless they touched what it relies on: a file that it removes, or the progress of the
application that it moves. Files that are only added conflict with nothing.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from etl.errors import StoreError
from etl.lake import delta
from etl.lake.delta import Action, Add, Metadata, Protocol, Remove, Snapshot, Txn
from etl.lake.storage import Storage
from etl.model.times import NS_PER_MS

LOG = "_delta_log"
LAST_CHECKPOINT = "_last_checkpoint"
COMMITS_PER_CHECKPOINT = 20
COMMITS_KEPT = 1_000
"""Older ones go with a checkpoint: so far back reaches time travel, as long as the files' grace leaves them."""
COMMIT_ATTEMPTS_MAX = 200
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet").fullmatch
_COMMIT = re.compile(r"(\d{20})\.json").fullmatch


class Conflict(StoreError):
    """Another writer was there first and touched what the commit relies on; nothing was changed."""


class DeltaLog:
    """The table in ``folder`` of ``storage``."""

    def __init__(self, storage: Storage, folder: str) -> None:
        self._storage = storage
        self._folder = f"{folder}/{LOG}"
        self._name = folder.rpartition("/")[2]

    def read(self, version: int | None = None) -> Snapshot:
        """The table as it is now, or after commit ``version``.

        Checkpoints that cannot be read are passed over. Raises ``StoreError`` if what is left does not reach."""
        names = self._storage.names(self._folder)
        snapshot = self._start(names, version)
        self._follow(snapshot, names, version)
        if version is not None and snapshot.version != version:
            raise StoreError(f"lake: {self._name} has no version {version} any more, or not yet")
        return snapshot

    def history(self) -> Iterator[tuple[int, list[Action]]]:
        """The commits that are kept, oldest first, but for one that a writer died in."""
        for name in filter(_COMMIT, self._storage.names(self._folder)):
            with suppress(ValueError):
                yield int(name[:20]), delta.decode(self._storage.get(f"{self._folder}/{name}"))

    def refresh(self, snapshot: Snapshot) -> None:
        """Bring ``snapshot`` to what the table is now, a commit at a time."""
        while (data := self._commit_data(snapshot.version + 1)) is not None:
            try:
                actions = delta.decode(data)
            except ValueError:
                return
            snapshot.apply(snapshot.version + 1, actions)

    def later(self, snapshot: Snapshot) -> Snapshot:
        """The table as it is now, by the commits after ``snapshot``, which stays as it is and is returned if there are
        none. All is read only where so many came that the log has dropped those that are wanted."""
        if self._has(snapshot.version + 1):
            later = copy(snapshot)
            later.adds, later.removes, later.txns = dict(later.adds), dict(later.removes), dict(later.txns)
            self.refresh(later)
        else:
            later = snapshot if self._has(snapshot.version) else self.read()
        return later if later.version > snapshot.version else snapshot

    def _has(self, version: int) -> bool:
        """Whether commit ``version`` is kept: then those after it are."""
        try:
            return self._storage.size(f"{self._folder}/{version:020d}.json") >= 0
        except FileNotFoundError:
            return False

    def commit(
        self,
        snapshot: Snapshot,
        fields: Sequence[pa.Field],
        *,
        added: Sequence[Add] = (),
        removed: Iterable[str] = (),
        txns: Mapping[str, int] | None = None,
        operation: str = "WRITE",
    ) -> None:
        """Make the table, if there is none, or bring it and ``snapshot`` one version on. ``removed`` are paths of adds.

        Raises ``Conflict``.
        """
        now_ms = time.time_ns() // NS_PER_MS
        gone = [snapshot.adds[path] for path in removed]
        before = {app_id: snapshot.done(app_id) for app_id in txns or {}}
        actions = [
            Action(commit_info={"timestamp": now_ms, "operation": operation, "operationParameters": {}}),
            *(Action(txn=Txn(app_id, value, now_ms)) for app_id, value in (txns or {}).items()),
            *(Action(remove=_removal(add, now_ms, operation != "OPTIMIZE")) for add in gone),
            *(Action(add=add) for add in added),
        ]
        for _ in range(COMMIT_ATTEMPTS_MAX):
            version = snapshot.version + 1
            whole = [*actions, *_changes_of_schema(snapshot, fields, now_ms)]
            if self._storage.put_new(f"{self._folder}/{version:020d}.json", delta.encode(whole)):
                snapshot.apply(version, whole)
                return
            self.refresh(snapshot)
            if snapshot.version < version:
                raise StoreError(f"lake: commit {version} of {self._name} is there and cannot be read")
            self._require_untouched(snapshot, gone, before)
        raise Conflict(f"lake: {self._name}: {COMMIT_ATTEMPTS_MAX} other commits came before this one")

    def _require_untouched(self, snapshot: Snapshot, gone: Sequence[Add], before: Mapping[str, int]) -> None:
        for add in gone:
            if add.path not in snapshot.adds:
                raise Conflict(f"lake: another writer runs: {self._name}: {add.path} was removed meanwhile")
        for app_id, value in before.items():
            if snapshot.done(app_id) != value:
                raise Conflict(
                    f"lake: another writer runs: {self._name}: {app_id} went from {value} to {snapshot.done(app_id)}"
                )

    def checkpoint_if_due(self, snapshot: Snapshot) -> None:
        """By whoever made the commit of ``snapshot``, once all that belongs to it is committed."""
        if snapshot.version > 0 and snapshot.version % COMMITS_PER_CHECKPOINT == 0:
            self.checkpoint(snapshot)

    def checkpoint(self, snapshot: Snapshot, forget_before_ms: int = 0) -> None:
        """Write the whole state, without what was removed before then, and drop what nobody reads any more."""
        snapshot.removes = {
            path: item
            for path, item in snapshot.removes.items()
            if (item.deletion_timestamp or 0) >= forget_before_ms
        }
        data, size = delta.checkpoint(snapshot)
        self._storage.put(f"{self._folder}/{snapshot.version:020d}.checkpoint.parquet", data)
        self._name_last(snapshot.version, size)
        for name in self._storage.names(self._folder):
            found = _COMMIT(name) or _CHECKPOINT(name)
            if found and int(found[1]) < snapshot.version - COMMITS_KEPT:
                self._storage.delete(f"{self._folder}/{name}")

    def repair(self) -> list[str]:
        """Undo what a writer that does not sync, or does not write at once, left at a crash: an unreadable checkpoint,
        a ``_last_checkpoint`` that names one, a last commit of which a part is missing. Returns the names removed."""
        names = self._storage.names(self._folder)
        torn: list[str] = []
        commits = [name for name in names if _COMMIT(name)]
        if commits and not self._is_commit(commits[-1]):
            torn.append(commits[-1])
        last = [name for name in names if _CHECKPOINT(name)][-1:]
        if last and not self._is_checkpoint(last[0]):
            torn += last
        for name in torn:
            self._storage.delete(f"{self._folder}/{name}")
        if LAST_CHECKPOINT in names and not self._last_is_there(set(names) - set(torn)):
            self._storage.delete(f"{self._folder}/{LAST_CHECKPOINT}")  # readers list instead
            torn.append(LAST_CHECKPOINT)
        return torn

    def _last_is_there(self, names: set[str]) -> bool:
        try:
            last = msgspec.json.decode(self._storage.get(f"{self._folder}/{LAST_CHECKPOINT}"), type=_Last)
        except (msgspec.DecodeError, FileNotFoundError):
            return False
        return f"{last.version:020d}.checkpoint.parquet" in names

    def _name_last(self, version: int, size: int) -> None:
        self._storage.put(f"{self._folder}/{LAST_CHECKPOINT}", msgspec.json.encode(_Last(version, size)))

    def _start(self, names: Sequence[str], version: int | None) -> Snapshot:
        for name in reversed([name for name in names if _CHECKPOINT(name)]):
            if version is None or int(name[:20]) <= version:
                snapshot = self._checkpoint_of(name)
                if snapshot is not None:
                    return snapshot
        return Snapshot(adds={}, removes={}, txns={})

    def _follow(self, snapshot: Snapshot, names: Sequence[str], until: int | None) -> None:
        commits = [name for name in names if _COMMIT(name)]
        for name in commits:
            number = int(name[:20])
            if number <= snapshot.version or (until is not None and number > until):
                continue
            if number != snapshot.version + 1:
                raise StoreError(f"lake: {self._name}: commit {snapshot.version + 1} is missing")
            try:
                actions = delta.decode(self._storage.get(f"{self._folder}/{name}"))
            except ValueError:
                if name == commits[-1]:  # a writer died in it: it never was
                    return
                raise StoreError(f"lake: {self._name}: commit {number} cannot be read") from None
            snapshot.apply(number, actions)

    def _commit_data(self, version: int) -> bytes | None:
        try:
            return self._storage.get(f"{self._folder}/{version:020d}.json")
        except FileNotFoundError:
            return None

    def _is_commit(self, name: str) -> bool:
        try:
            delta.decode(self._storage.get(f"{self._folder}/{name}"))
        except ValueError:
            return False
        return True

    def _is_checkpoint(self, name: str) -> bool:
        """By its foot, which is written last."""
        try:
            with self._storage.open(f"{self._folder}/{name}") as file:
                pq.read_metadata(file)
        except (pa.ArrowException, OSError):
            return False
        return True

    def _checkpoint_of(self, name: str) -> Snapshot | None:
        try:
            return delta.read_checkpoint(int(name[:20]), self._storage.get(f"{self._folder}/{name}"))
        except (pa.ArrowException, ValueError, OSError):
            return None


class _Last(msgspec.Struct):
    """``_last_checkpoint``."""

    version: int
    size: int


def _removal(add: Add, now_ms: int, data_change: bool) -> Remove:
    return Remove(add.path, data_change, now_ms, True, add.partition_values, add.size)


def _changes_of_schema(snapshot: Snapshot, fields: Sequence[pa.Field], now_ms: int) -> list[Action]:
    """The first commit says what the table is; a later one, that it has more columns."""
    schema = delta.schema_string(fields)
    known = snapshot.metadata
    if known is None:
        made = Metadata(str(uuid.uuid4()), schema, delta.PARTITION_COLUMNS, created_time=now_ms)
        return [Action(protocol=Protocol()), Action(meta_data=made)]
    if delta.column_names(schema) <= delta.column_names(known.schema_string):
        return []
    return [Action(meta_data=msgspec.structs.replace(known, schema_string=schema))]
