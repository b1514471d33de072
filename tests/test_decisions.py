"""``docs/decisions/``: every decision says when it was made and whether it holds, and the index lists them all."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "decisions"
FILES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
HEAD = re.compile(r"# (?P<title>.+)\n\nDate: (?P<date>[\d-]+)\. Status: (?P<status>.+)\.\n\n\S")
SUPERSEDED = re.compile(r"superseded by \[(?P<title>.+)\]\((?P<file>\w+\.md)\)")


def head(path: Path) -> dict[str, str]:
    found = HEAD.match(path.read_text())
    assert found, f"{path.name}: a decision begins as docs/decisions/README.md says"
    return found.groupdict()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_decision_has_a_date_and_a_status_and_names_the_one_that_took_its_place(path: Path) -> None:
    said = head(path)
    date.fromisoformat(said["date"])
    if said["status"] != "accepted":
        successor = SUPERSEDED.fullmatch(said["status"])
        assert successor, said["status"]
        assert head(FOLDER / successor["file"])["title"] == successor["title"]


def test_the_index_lists_every_decision_with_title_date_and_status() -> None:
    listed = re.findall(r"^- (\[.+)$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    expected = {
        f"[{said['title']}]({path.name}) ({said['date']}, {said['status']})"
        for path in FILES
        for said in [head(path)]
    }
    assert set(listed) == expected
    assert len(listed) == len(expected)


def test_every_link_of_the_documents_leads_to_a_file() -> None:
    root = FOLDER.parents[1]
    documents = [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
    broken = [
        f"{path.relative_to(root)}: {target}"
        for path in documents
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", path.read_text())
        if not (path.parent / target).exists()
    ]
    assert broken == []
