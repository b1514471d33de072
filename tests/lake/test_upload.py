"""Local first: what the bucket has and a commit of it names leaves this machine, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from etl import settings as settings_module
from etl.cli import app
from etl.errors import StoreError, StoreUnavailable, UsageError
from etl.lake.bucket import ObjectStorage
from etl.lake.catalog import Catalog, State
from etl.lake.compaction import compact
from etl.lake.upload import Uploaded, upload
from etl.settings import Settings, changed
from tests.support import stream
from tests.support.bucket import Objects, running_bucket
from tests.support.lake import export_records, query, state_of
from tests.support.stream import START_NS

FAR_NS = 9_000_000_000_000_000_000


@pytest.fixture
def places(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Settings, Settings, Objects]]:
    """The local lake, the same settings for the one in the bucket, and the bucket's objects."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with running_bucket() as (address, objects):
        url = f"s3://lake/prefix?scheme=http&endpoint_override={address}&region=us-east-1"
        yield changed(settings, lake_upload_url=url), changed(settings, lake_url=url), objects


def on_disk(settings: Settings) -> set[str]:
    root = Path(settings.lake_path)
    return {str(path.relative_to(root)) for path in root.glob("tables/*/exchange=*/*/*.parquet")}


def rows(settings: Settings) -> int:
    """Of the files of trades, before any view."""
    return sum(file.rows for file in state_of(settings).of("trades"))


def test_files_go_to_the_bucket_with_their_offsets_and_leave_when_their_grace_is_over(
    places: tuple[Settings, Settings, Objects],
) -> None:
    local, bucket, objects = places
    files = export_records(local, [stream.trade(0), stream.trade(1, "kraken"), stream.quote(0)])
    size = sum(file.bytes for file in files)
    assert upload(local, START_NS) == Uploaded(files=3, bytes=size, deleted=0)
    assert {file.path: len(objects[f"lake/prefix/{file.path}"]) for file in files} == {
        file.path: file.bytes for file in files
    }
    assert state_of(bucket).files == {file.path: file for file in files}
    assert state_of(bucket).done("trades", "topic-id/0") == 3
    assert state_of(local).files == {}
    assert on_disk(local) == {file.path for file in files}  # for who reads them still
    export_records(local, [stream.trade(2)], 3)
    assert upload(local, FAR_NS).files == 1
    assert on_disk(local) == set()
    assert query(bucket, "SELECT count(*), count(DISTINCT record_key) FROM trades") == [(3, 3)]
    assert upload(local, FAR_NS) == Uploaded(0, 0, 0)


@pytest.mark.parametrize("dies_at", [1, 2])
def test_an_upload_that_died_at_a_commit_sends_each_row_once(
    places: tuple[Settings, Settings, Objects], monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    """Before the bucket's commit, and before the local one that follows it."""
    local, bucket, _ = places
    export_records(local, [stream.trade(0), stream.trade(1)])
    commit, calls = Catalog.commit, iter(range(1, 9))

    def die(catalog: Catalog, state: State, **changes: Any) -> None:
        if next(calls) == dies_at:
            raise KeyboardInterrupt
        commit(catalog, state, **changes)

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "commit", die)
        with pytest.raises(KeyboardInterrupt):
            upload(local, START_NS)
    assert (rows(local), rows(bucket)) == (2, 2 if dies_at == 2 else 0)
    compact(bucket, START_NS)
    export_records(local, [stream.trade(2)], 2)
    upload(local, START_NS)
    assert (rows(local), rows(bucket)) == (0, 3)


def test_a_file_that_is_not_there_what_it_is_here_stays(
    places: tuple[Settings, Settings, Objects], monkeypatch: pytest.MonkeyPatch
) -> None:
    local, bucket, objects = places
    (file,) = export_records(local, [stream.trade(0)])
    put = ObjectStorage.put

    def damaged(at: ObjectStorage, path: str, data: bytes) -> None:
        put(at, path, data)
        if path == file.path:
            objects[f"lake/prefix/{path}"] = data[:-1] + b"?"

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStorage, "put", damaged)
        with pytest.raises(StoreError, match="is not there what was put"):
            upload(local, FAR_NS)
    assert (rows(local), rows(bucket), on_disk(local)) == (1, 0, {file.path})
    path = Path(local.lake_path) / file.path
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(StoreError, match=rf"has {file.bytes - 1} bytes, its table says {file.bytes}"):
        upload(local, FAR_NS)
    path.write_bytes(whole)
    assert upload(local, START_NS).files == 1
    assert (rows(local), rows(bucket)) == (0, 1)


def test_a_bucket_out_of_reach_takes_nothing_away(settings: Settings) -> None:
    away = changed(settings, lake_upload_url="s3://lake?scheme=http&endpoint_override=127.0.0.1:1&region=r")
    export_records(away, [stream.trade(0)])
    with pytest.raises(StoreUnavailable):
        upload(away, FAR_NS)
    assert (rows(away), len(on_disk(away))) == (1, 1)


def test_the_command_needs_a_place_that_is_not_the_lake(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url, why in (("", "not set"), (settings.lake_path, "is the lake itself")):
        with pytest.raises(UsageError, match=why):
            upload(changed(settings, lake_upload_url=url), START_NS)
    to = changed(settings, lake_upload_url=f"{settings.lake_path}-far")
    export_records(to, [stream.trade(0)])
    for name, value in settings_module.as_environment(to).items():
        monkeypatch.setenv(name, value)
    assert CliRunner().invoke(app, ["lake", "upload"]).output.startswith("lake: 1 files of ")
    export_records(to, [stream.trade(1)], 1)
    CliRunner().invoke(app, ["lake", "upload"])
    assert CliRunner().invoke(app, ["compact"]).output.startswith("lake: 1 days, 2 files became 1;")  # there
    far = state_of(changed(settings, lake_url=to.lake.upload_url))
    assert [(file.table, file.rows) for file in far.files.values() if file.table == "trades"] == [
        ("trades", 2)
    ]
