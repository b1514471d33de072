"""A new broker's storage is a copy of one that was formatted before: whole, or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from etl.embedded import kafka
from etl.settings import make


@pytest.fixture
def formatted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(kafka, "CACHE_DIR", tmp_path / "cache")
    folder = kafka.formatted()
    (folder / "__cluster_metadata-0").mkdir(parents=True)
    (folder / "__cluster_metadata-0" / "0.checkpoint").write_bytes(b"records")
    (folder / kafka.META).write_text("version=1\n")
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_storage_is_a_copy_and_an_old_one_is_left_alone(tmp_path: Path, formatted: Path) -> None:
    settings = make(state_dir=str(tmp_path / "state"))
    kafka.prepare(settings)
    data = tmp_path / "state" / "kafka" / "data"
    assert files(data) == files(formatted)
    (data / kafka.META).write_text("version=1\nits own\n")
    kafka.prepare(settings)
    assert (data / kafka.META).read_text() == "version=1\nits own\n"


def test_a_copy_that_was_cut_off_is_made_again(tmp_path: Path, formatted: Path) -> None:
    data = tmp_path / "state" / "kafka" / "data"
    data.mkdir(parents=True)
    (data / f".{kafka.META}.partial").write_text("vers")
    kafka.prepare(make(state_dir=str(tmp_path / "state")))
    assert files(data) == files(formatted)


def test_a_broker_with_other_properties_has_another_storage(
    tmp_path: Path, formatted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "broker.properties"
    other.write_text("node.id=2\n")
    monkeypatch.setattr(kafka, "PROPERTIES_TEMPLATE", other)
    assert kafka.formatted() != formatted
