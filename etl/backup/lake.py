"""The lake as one state of it: a checkpoint of each table, the files that it names, how far each topic is exported.

    lake/tables/{table}/_delta_log/{version}.checkpoint.parquet, …/_last_checkpoint
    lake/tables/{table}/exchange=…/date=…/….parquet
    lake/_exports/{version}.checkpoint.json, lake/_pins/…

Files never change, so one state is kept together by a pin while its files are copied.
"""

from __future__ import annotations

import msgspec

from etl.backup.archive import Reader, Writer
from etl.errors import UsageError
from etl.lake import delta, exports, layout, log, pins
from etl.lake.catalog import Catalog, State
from etl.lake.storage import Storage, open_storage
from etl.lake.view import newest
from etl.settings import Settings

CONTENT = "lake"


def exported(settings: Settings) -> dict[str, dict[int, int]]:
    """By topic id and partition: the offset before which all is in the lake."""
    return Catalog(open_storage(settings)).read().exports.offsets


def back_up(settings: Settings, into: Writer, now_ns: int) -> None:
    """Raises ``StoreError``."""
    storage = open_storage(settings)
    state = Catalog(storage).read()
    pin = f"backup-{now_ns}"
    pins.write(storage, pin, newest(state, settings.topics.normalized), now_ns)
    try:
        _copy_files(storage, into, state)
    finally:
        pins.delete(storage, pin)
    # last, as the lake itself has it: a table's own word says how far it is, and this may only be behind it
    for table, snapshot in state.tables.items():
        if snapshot.version >= 0:
            _put_log(into, table, snapshot)
    if state.exports.version:
        name = f"{exports.FOLDER}/{state.exports.version:020d}.checkpoint.json"
        into.put(f"{CONTENT}/{name}", msgspec.json.encode(state.exports))


def _copy_files(storage: Storage, into: Writer, state: State) -> None:
    own = [path for path in storage.files(pins.FOLDER) if "backup-" not in path]
    files = sorted({*state.files, *pins.pinned(storage)})
    for path in [*files, *sorted(own)]:
        into.put_packed(f"{CONTENT}/{path}", storage.get(path))


def _put_log(into: Writer, table: str, snapshot: delta.Snapshot) -> None:
    """A log that begins with a checkpoint: what was removed before lies in no backup."""
    whole = msgspec.structs.replace(snapshot, removes={})
    data, actions = delta.checkpoint(whole)
    folder = f"{CONTENT}/{layout.table_folder(table)}/{log.LOG}"
    into.put(f"{folder}/{snapshot.version:020d}.checkpoint.parquet", data.to_pybytes())
    last = {"version": snapshot.version, "size": actions}
    into.put(f"{folder}/{log.LAST_CHECKPOINT}", msgspec.json.encode(last))


def require_empty(settings: Settings) -> None:
    """Raises ``UsageError`` if there is a lake."""
    storage = open_storage(settings)
    if storage.files(layout.TABLES_FOLDER) or storage.files(exports.FOLDER):
        raise UsageError(f"lake at {storage.url} has files: restore into an empty place, or with --replace")


def _renamed(settings: Settings, source: Reader, data: bytes) -> bytes:
    """How far exports are, with the topics under the names that they have now: by these it is told that one was made
    anew, and that its files need names of their own."""
    now = {name: getattr(settings.topics, role) for role, name in source.manifest.topic_names.items()}
    state = msgspec.json.decode(data, type=exports.Exports)
    state.topics = {topic_id: now.get(name, name) for topic_id, name in state.topics.items()}
    return msgspec.json.encode(state)


def restore(settings: Settings, source: Reader) -> dict[str, int]:
    """Rows by table. What was there goes, logs first: nobody takes half of two lakes for one."""
    storage = open_storage(settings)
    there = [
        *storage.files(exports.FOLDER),
        *storage.files(layout.TABLES_FOLDER),
        *storage.files(pins.FOLDER),
    ]
    for path in sorted(there, key=lambda path: f"/{log.LOG}/" not in path):
        storage.delete(path)
    for path, data in source.parts(CONTENT):
        storage.put(path, _renamed(settings, source, data) if path.startswith(f"{exports.FOLDER}/") else data)
    rows: dict[str, int] = {}
    for file in Catalog(storage).read().files.values():
        rows[file.table] = rows.get(file.table, 0) + file.rows
    return rows
