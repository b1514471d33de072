"""What a backup and a restore do with any content: here the state folder's, which needs no server."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from msgspec import structs

from etl.backup import restore as restore_module
from etl.backup.archive import MANIFEST, Reader, Writer
from etl.backup.backup import back_up
from etl.backup.restore import NOTE, restore
from etl.errors import StoreError, UsageError
from etl.lake.storage import storage_at
from etl.settings import Settings, make

STATE = ("state",)
FILES = {
    "backfill/binance/job.json": b'{"done": 7}',
    "gateway_tokens.json": b"[]",
    "monitoring/incidents.json": b"x" * 10_000,
}
LEFT = {
    "clickhouse/data.bin": b"server",
    "clickhouse.password": b"secret",
    "run/lock": b"7",
    "logs/stream.log": b"line",
}


def say_nothing(line: str) -> None: ...


def write(settings: Settings, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        path = settings.state_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def own_files(settings: Settings) -> dict[str, bytes]:
    root = settings.state_path
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture
def source(tmp_path: Path) -> Settings:
    settings = make(state_dir=str(tmp_path / "source"))
    write(settings, FILES | LEFT)
    return settings


@pytest.fixture
def target(tmp_path: Path) -> Settings:
    return make(state_dir=str(tmp_path / "target"))


@pytest.fixture
def place(source: Settings, tmp_path: Path) -> str:
    back_up(source, str(tmp_path / "backup"), STATE, say_nothing)
    return str(tmp_path / "backup")


def test_the_state_folder_comes_back_without_what_belongs_to_servers_and_runs(
    place: str, target: Settings
) -> None:
    restore(target, place, STATE, replace=False, say=say_nothing)
    assert own_files(target) == FILES
    assert {path.stat().st_mode & 0o077 for path in target.state_path.rglob("*.json")} == {0}


def test_a_place_with_a_backup_takes_no_other(place: str, source: Settings) -> None:
    with pytest.raises(UsageError, match="there is a backup already"):
        back_up(source, place, STATE, say_nothing)


def test_without_its_manifest_it_is_no_backup(place: str, target: Settings) -> None:
    (Path(place) / MANIFEST).unlink()
    with pytest.raises(UsageError, match="no backup"):
        restore(target, place, STATE, replace=False, say=say_nothing)


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_nothing_is_touched_where_an_object_is_not_what_was_written(
    damage: str, place: str, target: Settings
) -> None:
    damaged = Path(place) / "state/monitoring/incidents.json"
    if damage == "missing":
        damaged.unlink()
    else:
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data)
    with pytest.raises(
        StoreError, match=r"backup: state/monitoring/incidents\.json is (missing|not what was written)"
    ):
        restore(target, place, STATE, replace=True, say=say_nothing)
    assert not target.state_path.exists()


def test_what_is_there_is_given_up_only_when_told(place: str, target: Settings) -> None:
    write(target, {"backfill/okx/job.json": b"newer"})
    with pytest.raises(UsageError, match="--replace"):
        restore(target, place, STATE, replace=False, say=say_nothing)
    assert own_files(target) == {"backfill/okx/job.json": b"newer"}
    restore(target, place, STATE, replace=True, say=say_nothing)
    assert own_files(target) == FILES, "a mark that the backup has not would claim what is not stored"


def test_a_restore_that_was_cut_off_goes_on_and_lets_no_other_begin(
    place: str, source: Settings, target: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(settings: Settings, reader: Reader) -> dict[str, int]:
        write(settings, {"half": b""})
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        contents = restore_module._CONTENTS
        dying = structs.replace(contents["state"], restore=dies)
        patched.setattr(restore_module, "_CONTENTS", contents | {"state": dying})
        with pytest.raises(StoreError, match="the disk is full"):
            restore(target, place, STATE, replace=False, say=say_nothing)
    assert (target.state_path / NOTE).exists()
    other = str(tmp_path / "other")
    back_up(source, other, STATE, say_nothing)
    with pytest.raises(UsageError, match="was cut off"):
        restore(target, other, STATE, replace=True, say=say_nothing)
    restore(target, place, STATE, replace=False, say=say_nothing)
    assert own_files(target) == FILES


def test_a_name_that_leads_out_of_the_folder_is_refused(target: Settings, tmp_path: Path) -> None:
    writer = Writer(storage_at(str(tmp_path / "evil")))
    writer.put("state/../../outside", b"x")
    writer.finish(etl_version="0", made_ns=1, contents=STATE, migrations={}, topics={}, topic_names={})
    with pytest.raises(UsageError, match="leads out of"):
        restore(target, str(tmp_path / "evil"), STATE, replace=False, say=say_nothing)


def test_unknown_and_absent_contents_are_named(
    place: str, source: Settings, target: Settings, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="marks: there are state, airflow"):
        back_up(source, str(tmp_path / "b"), ("marks",), say_nothing)
    with pytest.raises(UsageError, match="the backup has no lake; it has state"):
        restore(target, place, ("lake",), replace=False, say=say_nothing)


def test_airflows_database_is_copied_while_it_is_written(
    tmp_path: Path, source: Settings, target: Settings
) -> None:
    home = source.state_path / "airflow"
    home.mkdir()
    (home / "credentials.json").write_bytes(b"{}")
    writing = sqlite3.connect(home / "airflow.db")
    writing.execute("PRAGMA journal_mode=WAL")
    writing.execute("CREATE TABLE dag_run (id INTEGER)")
    writing.execute("INSERT INTO dag_run VALUES (1)")
    writing.commit()
    writing.execute("INSERT INTO dag_run VALUES (2)")  # not committed: not in the backup
    back_up(source, str(tmp_path / "b"), ("airflow",), say_nothing)
    writing.close()
    restore(target, str(tmp_path / "b"), ("airflow",), replace=False, say=say_nothing)
    copied = sqlite3.connect(target.state_path / "airflow" / "airflow.db")
    assert copied.execute("SELECT id FROM dag_run").fetchall() == [(1,)]
    copied.close()
    with pytest.raises(UsageError, match="restore without it"):
        restore(target, str(tmp_path / "b"), ("airflow",), replace=False, say=say_nothing)
