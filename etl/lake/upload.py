"""``etl lake upload``: local first. Exports go into the lake of this machine; from there their files go to the one in a
bucket, and leave this one when a commit of the bucket's names them.

    put       each new file, and its checksum asked of the bucket
    commit    in the bucket: the files, the offsets, and the version of the local table that they are the state of (txn)
    drop      in the local table: the files leave it; they are deleted when their grace is over

Whoever dies between commit and drop finds the version in the bucket and goes on with what came after it.
"""

from __future__ import annotations

from msgspec import Struct

from etl.errors import StoreError, UsageError
from etl.lake import layout
from etl.lake.catalog import Catalog, File, State
from etl.lake.compaction import vacuum
from etl.lake.log import DeltaLog
from etl.lake.storage import Storage, open_storage, storage_at
from etl.model.tables import KIND_BY_TABLE
from etl.settings import Settings, changed

TABLES = (*KIND_BY_TABLE, layout.RAW)
"""What is made of these is made in the bucket."""


class Uploaded(Struct, frozen=True):
    """Files and bytes that the bucket has got, and old local files that were deleted."""

    files: int
    bytes: int
    deleted: int


def upload(settings: Settings, now_ns: int) -> Uploaded:
    """Bring the lake at ``lake_upload_url`` what the local one has. Raises ``UsageError``, ``StoreError``."""
    if not settings.lake.upload_url:
        raise UsageError("lake_upload_url: not set: where shall the lake's files go?")
    local, remote = open_storage(settings), storage_at(settings.lake.upload_url)
    if local.url == remote.url:
        raise UsageError("lake_upload_url: is the lake itself")
    here, there = Catalog(local), Catalog(remote)
    for catalog in (here, there):
        catalog.repair()
    state, remote_state = here.read(), there.read()
    sent: list[File] = []
    for table in TABLES:
        files = state.of(table)
        if not files:
            continue
        new = _new(local, state, remote_state, table, files)
        for file in new:
            _put(local, remote, file)
        if new:
            there.commit(remote_state, added=new, txns=_progress(state, remote_state, table))
        here.commit(state, removed=[file.path for file in files], operation="UPLOAD")
        sent += new
    return Uploaded(len(sent), sum(file.bytes for file in sent), vacuum(settings, now_ns))


def of_destination(settings: Settings) -> Settings:
    """Those of the lake that files end up in: what compacts, and makes coverage and bars, works there."""
    url = settings.lake.upload_url
    return changed(settings, lake_url=url, lake_upload_url="") if url else settings


def app_id(state: State, table: str) -> str:
    """Under which name the bucket's table keeps how many commits of the local one it has."""
    metadata = state.tables[table].metadata
    assert metadata is not None, table
    return f"upload/{metadata.id}"


def _new(local: Storage, state: State, remote: State, table: str, files: list[File]) -> list[File]:
    """Those of ``files`` that came after the version that the bucket has."""
    done = remote.done(table, app_id(state, table))
    if not done:
        return files
    log = DeltaLog(local, layout.table_folder(table))
    old = {file.path for file in Catalog.files_of(table, log.read(done - 1))}
    return [file for file in files if file.path not in old]


def _put(local: Storage, remote: Storage, file: File) -> None:
    data = local.get(file.path)
    if len(data) != file.bytes:
        raise StoreError(
            f"lake at {local.url}: {file.path} has {len(data)} bytes, its table says {file.bytes}"
        )
    remote.put(file.path, data)
    if not remote.is_same(file.path, data):
        raise StoreError(f"lake at {remote.url}: {file.path} is not there what was put")


def _progress(state: State, remote: State, table: str) -> dict[str, int]:
    """The offsets, as far as they moved, and the version."""
    snapshot = state.tables[table]
    moved = {
        name: txn.version for name, txn in snapshot.txns.items() if remote.done(table, name) != txn.version
    }
    return {**moved, app_id(state, table): snapshot.version + 1}
