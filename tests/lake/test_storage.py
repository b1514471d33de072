"""A folder and a bucket keep the same promises, and hold the same lake."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.errors import StoreError, StoreUnavailable, UsageError
from etl.lake.bucket import ObjectStorage
from etl.lake.cache import FileCache
from etl.lake.compaction import compact
from etl.lake.storage import (
    TEMPORARY_AGE_MAX_S,
    TEMPORARY_SUFFIX,
    LocalStorage,
    Storage,
    open_storage,
)
from etl.settings import Settings, changed, make
from tests.support import stream
from tests.support.bucket import Objects, running_bucket
from tests.support.lake import export_records, query


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Objects]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with running_bucket() as (address, objects):
        yield f"s3://lake/prefix?scheme=http&endpoint_override={address}&region=us-east-1", objects


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Objects]]:
    with running_bucket() as (address, objects):
        account = {"gcs_base_url": f"http://{address}", "disable_oauth": True}
        secrets = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(account | secrets))
        yield "gs://lake/prefix?scheme=http", objects


@pytest.fixture(params=["folder", "bucket", "google"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return LocalStorage(tmp_path / "lake")
    return ObjectStorage(request.getfixturevalue(request.param)[0])


def test_what_was_put_is_found_listed_replaced_and_deleted(storage: Storage) -> None:
    storage.put("a/symbol=XBT%2FUSD/x.parquet", b"one")
    storage.put("a/symbol=XBT%2FUSD/x.parquet", b"two")
    storage.put("a/symbol=XBT%2FUSD/y.parquet", b"")
    assert storage.get("a/symbol=XBT%2FUSD/x.parquet") == b"two"
    assert storage.names("a/symbol=XBT%2FUSD") == ["x.parquet", "y.parquet"]
    assert storage.names("nowhere") == []
    with storage.open("a/symbol=XBT%2FUSD/x.parquet") as file:
        assert file.read() == b"two"
    storage.delete("a/symbol=XBT%2FUSD/x.parquet")
    storage.delete("a/symbol=XBT%2FUSD/x.parquet")
    assert storage.names("a/symbol=XBT%2FUSD") == ["y.parquet"]
    with pytest.raises(FileNotFoundError):
        storage.get("a/symbol=XBT%2FUSD/x.parquet")


def test_what_was_put_is_compared_with_what_is_there(storage: Storage) -> None:
    storage.put("a/x.parquet", b"whole")
    assert storage.is_same("a/x.parquet", b"whole")
    assert not storage.is_same("a/x.parquet", b"whole and more")
    assert not storage.is_same("a/x.parquet", b"wrong")
    with pytest.raises(FileNotFoundError):
        storage.is_same("a/y.parquet", b"")


@pytest.mark.parametrize("kind", ["bucket", "google"])
def test_what_went_in_parts_is_read_back_where_the_store_compared_none(
    request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, objects = request.getfixturevalue(kind)
    storage, read = ObjectStorage(url), list[str]()
    get = ObjectStorage.get

    def noted(at: ObjectStorage, path: str) -> bytes:
        read.append(path)
        return get(at, path)

    monkeypatch.setattr(ObjectStorage, "get", noted)
    data = bytes(6 << 20)
    storage.put("x", data)
    storage.put("small", b"1")
    assert (storage.is_same("x", data), storage.is_same("small", b"1")) == (True, True)
    assert read == ([] if kind == "bucket" else ["x"])
    objects["lake/prefix/small"] = b"2"
    objects["lake/prefix/x"] = data[:-1]
    assert (storage.is_same("x", data), storage.is_same("small", b"1")) == (False, False)


def test_of_two_that_create_one_object_the_first_wins(storage: Storage) -> None:
    assert storage.put_new("c/1.json", b"first")
    assert not storage.put_new("c/1.json", b"second")
    assert storage.get("c/1.json") == b"first"
    assert storage.names("c") == ["1.json"]


def test_a_folder_and_a_bucket_hold_the_same_lake(settings: Settings, bucket: tuple[str, Objects]) -> None:
    url, objects = bucket
    in_bucket = changed(settings, lake_url=url)
    for where in (settings, in_bucket):
        export_records(
            where, [stream.trade(0), stream.trade(1, symbol="XBT/USD"), stream.gap(0, exchange="*")]
        )
    root = Path(settings.lake_path)
    in_folder = {
        f"lake/prefix/{path.relative_to(root)}": path.read_bytes() for path in root.rglob("*.parquet")
    }
    assert {key: data for key, data in objects.items() if key.endswith(".parquet")} == in_folder
    for where in (settings, in_bucket):
        export_records(where, [stream.trade(0), stream.trade(2)], 3)
        compact(where, 1 << 62)
    sql = "SELECT exchange, symbol, date, record_key, last_price FROM trades ORDER BY ALL"
    assert query(in_bucket, sql) == query(settings, sql)
    assert len(query(in_bucket, sql)) == 3
    assert query(in_bucket, "SELECT exchange FROM gaps") == [("*",)]


@pytest.mark.parametrize("cache_mib", [0, 16])
def test_a_lake_of_google_is_queried(settings: Settings, google: tuple[str, Objects], cache_mib: int) -> None:
    where = changed(settings, lake_url=google[0], lake_cache_mib=cache_mib)
    export_records(where, [stream.trade(0), stream.trade(1)])
    export_records(where, [stream.trade(1), stream.trade(2)], 2)
    sql = "SELECT count(*), sum(frame_sequence) FROM trades"
    assert query(where, sql) == [(3, 6)]
    compact(where, 1 << 62)
    assert query(where, sql) == [(3, 6)]
    held = list((where.state_path / "lake_cache").glob("*"))
    assert len(held) == (3 if cache_mib else 0)


def test_files_read_lately_are_kept_and_those_not_read_longest_go(tmp_path: Path) -> None:
    cache, asked = FileCache(tmp_path / "cache", 10), list[str]()

    def read(name: str, size: int = 4) -> bytes | None:
        def fetch() -> bytes:
            asked.append(name)
            return name.encode() * size

        path = cache.path(name, size, fetch)
        time.sleep(0.01)
        return path.read_bytes() if path else None

    assert [read(name) for name in "abacb"] == [b"aaaa", b"bbbb", b"aaaa", b"cccc", b"bbbb"]
    assert asked == ["a", "b", "c", "b"]
    assert read("d", 11) is None
    assert sum(path.stat().st_size for path in (tmp_path / "cache").iterdir()) == 8


def test_an_address_says_what_it_may_not_mean() -> None:
    for url in ("s3://", "ftp://bucket", "gs://bucket?region=x", "az://container?virtual_addressing=true"):
        with pytest.raises(ValueError, match=r"not s3://|unknown options"):
            ObjectStorage(url)
    with pytest.raises(ValueError, match="no account"):
        ObjectStorage("az://container")


def test_a_bucket_that_ignores_the_condition_of_a_put_is_refused(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with running_bucket(is_conditional=False) as (address, objects):
        url = f"s3://lake/prefix?scheme=http&endpoint_override={address}&region=us-east-1"
        with pytest.raises(StoreError, match="ignores If-None-Match"):
            export_records(changed(settings, lake_url=url), [stream.trade(0)])
        assert not [key for key in objects if key.endswith(".json")]


def test_queries_over_many_row_groups_of_a_bucket_never_fail(
    settings: Settings, bucket: tuple[str, Objects]
) -> None:
    """DuckDB reads one handle in several threads."""
    in_bucket = changed(settings, lake_url=bucket[0], lake_row_group_rows=50)
    export_records(in_bucket, [stream.trade(n) for n in range(1_000)])
    expected = [(1_000, 500_500, 1_000)]
    for _ in range(10):
        assert (
            query(in_bucket, "SELECT count(*), sum(frame_sequence), count(DISTINCT record_key) FROM trades")
            == expected
        )


def test_every_folder_of_a_new_file_is_lasting_also_one_whose_maker_died(
    tmp_path: Path, synced: list[Path]
) -> None:
    root = tmp_path / "lake"
    storage = LocalStorage(root)
    assert synced == [tmp_path]
    (root / "data").mkdir()  # by a process that came no further
    storage.put("data/trades/x.parquet", b"")
    folders = [path for path in synced[1:] if path.is_dir()]
    assert folders == [root, root / "data", root / "data" / "trades"]
    synced.clear()
    storage.put("data/trades/y.parquet", b"")
    assert [path for path in synced if path.is_dir()] == [root / "data" / "trades"]


def test_what_a_dead_writer_left_half_written_is_swept_and_nothing_else(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path)
    storage.put("data/x.parquet", b"")
    old, new = (tmp_path / "data" / f".x.parquet.{name}{TEMPORARY_SUFFIX}" for name in ("old", "new"))
    for partial in (old, new):
        partial.touch()
    now_s = time.time()
    os.utime(old, (now_s, now_s - TEMPORARY_AGE_MAX_S - 1.0))
    storage.sweep(now_s)
    assert not old.exists()
    assert new.exists()
    assert list(storage.files("data")) == ["data/x.parquet"]


def test_a_place_that_cannot_be_reached_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreUnavailable, match="lake at"):
        open_storage(make(lake_url=str(tmp_path / "file" / "lake")))
    with pytest.raises(UsageError, match="ETL_LAKE_URL"):
        open_storage(make(lake_url="ftp://somewhere/lake"))


def test_keys_of_a_bucket_may_stand_in_a_profile(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    (tmp_path / "credentials").write_text(
        "[lake]\naws_access_key_id = ann\naws_secret_access_key = secret%s\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "lake")
    storage = ObjectStorage("s3://lake/prefix?scheme=http&endpoint_override=127.0.0.1:1&region=us-east-1")
    config = storage._store.config
    assert (config["access_key_id"], config["secret_access_key"]) == ("ann", "secret%s")
