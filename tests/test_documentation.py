"""The documentation: pages made from the code are what the code makes, every link leads somewhere, every page has its
place."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import yaml

from etl.documentation.alerts import RULES, Alert, alerts
from etl.documentation.columns import MEANINGS
from etl.documentation.metrics import metrics
from etl.documentation.pages import DOCS, navigation, pages
from etl.wire.columns import COLUMNS

ROOT = DOCS.parent
TEXTS = sorted([*ROOT.glob("*.md"), *(path for path in DOCS.rglob("*.md")), DOCS / "llms.txt"])
LINK = re.compile(r"(?<!\!)\[[^\]\n]*\]\((?P<target>[^)\s]+)\)|!\[[^\]\n]*\]\((?P<image>[^)\s]+)\)")
FENCE = re.compile(r"```.*?```|^ {4}[^\n]*$|`[^`\n]*`", re.DOTALL | re.MULTILINE)
OUTSIDE = re.compile(r"[a-z]+:")
WITHOUT_PLACE = ("decisions/", "benchmarks/", "runbooks/")
"""Folders whose own index leads to their pages."""


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages()


def test_the_pages_are_what_the_code_makes(made: dict[str, str]) -> None:
    stale = [
        path for path, text in made.items() if not (DOCS / path).exists() or (DOCS / path).read_text() != text
    ]
    assert stale == [], "run: python -m etl.documentation"


def test_every_column_has_a_meaning_and_no_other() -> None:
    assert {column.name for columns in COLUMNS.values() for column in columns} | {"time"} == set(MEANINGS)


def test_every_command_and_every_metric_is_on_its_page(made: dict[str, str]) -> None:
    commands = {path.stem.replace("_", "-") for path in (ROOT / "etl" / "commands").glob("*.py")} - {
        "--init--"
    }
    assert [name for name in commands if f"## etl {name}" not in made["reference/cli.md"]] == []
    names = {each.name for each in metrics()}
    assert {"etl_frames_total", "etl_sink_rows_total", "etl_part_up", "etl_dag_runs_total"} <= names
    assert [each for each in metrics() if not each.meaning] == []


def test_alerts_are_read_as_yaml_says() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert list(alerts()) == [
        Alert(
            name=rule["alert"],
            group=group["name"],
            severity=rule["labels"]["severity"],
            holds_for=rule.get("for", ""),
            expression=rule["expr"].rstrip("\n"),
            summary=rule["annotations"]["summary"],
        )
        for group in groups
        for rule in group["rules"]
    ]


@functools.cache
def anchors(path: Path) -> set[str]:
    """As they are made of headings."""
    found = re.findall(r"^#{1,6} (.+)$", FENCE.sub(_heading_kept, path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def _heading_kept(match: re.Match[str]) -> str:
    text = match.group()
    return text.strip("`") if text.startswith("`") and not text.startswith("```") else ""


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    broken = []
    for found in LINK.finditer(FENCE.sub("", path.read_text())):
        target = found["target"] or found["image"]
        if OUTSIDE.match(target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_every_page_has_its_place_in_the_navigation() -> None:
    placed = [path for _, inside in navigation() for _, path in inside]
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(set(placed) - there) == []
    assert sorted(path for path in there - set(placed) if not path.startswith(WITHOUT_PLACE)) == []
    assert len(placed) == len(set(placed))
