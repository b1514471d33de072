from __future__ import annotations

import stat
from pathlib import Path

import pytest

from etl.stores.files import write_new, write_whole


def test_a_file_is_replaced_whole_with_its_folder_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "secret.json"
    write_whole(path, b"one", mode=0o600)
    write_whole(path, b"another", mode=0o600, durable=False)
    assert path.read_bytes() == b"another"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_lasting_with_every_folder_that_was_made_for_it(tmp_path: Path, synced: list[Path]) -> None:
    write_whole(tmp_path / "a" / "b" / "c.json", b"one")
    assert synced[:2] == [tmp_path / "a", tmp_path]
    assert synced[-1] == tmp_path / "a" / "b"
    synced.clear()
    write_whole(tmp_path / "a" / "b" / "c.json", b"two", durable=False)
    assert synced == []
    write_new(tmp_path / "a" / "secret", b"three")
    assert synced[-1] == tmp_path / "a"


def test_a_write_that_fails_leaves_what_was_there_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    write_whole(path, b"one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"another")
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]
