from __future__ import annotations

from pathlib import PurePath

from hypothesis import given
from hypothesis import strategies as st

from etl.model.names import file_name, shown_of

NASTY = [
    "",
    ".",
    "..",
    "...",
    ".hidden",
    "a/b",
    "a_b",
    "a\\b",
    "a\0b",
    "a~b",
    "字" * 100,
    "x" * 300,
    "\ud800",
]


@given(text=st.one_of(st.sampled_from(NASTY), st.text(alphabet=st.characters())))
def test_whatever_a_name_is_it_names_one_file_below_its_folder(text: str) -> None:
    name = file_name(text)
    assert PurePath("folder", name).parts == ("folder", name)
    assert name not in (".", "..")
    assert name.isascii()
    assert len(name) < 180


def test_different_names_are_different_files() -> None:
    texts = [*NASTY, *(text + "x" for text in NASTY), *map(file_name, NASTY)]
    assert len(set(map(file_name, texts))) == len(set(texts))


def test_what_can_be_shown_of_a_name_is() -> None:
    assert shown_of(file_name("manual__2026-11-21T10:00:00+00:00")) == "manual__2026-11-21T10_00_00_00_00"
    assert shown_of("of-a-version-before") == "of-a-version-before"
