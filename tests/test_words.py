"""One word per concept (``docs/glossary.md``): what was said before does not come back."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOW_SAID_AS = {
    r"\bMENDED\b|[Ww]hat a worker mends": "crash recovery",
    r"\bone purse\b|\bpurses?\b": "shared request budget",
    r"the clock and the dice|\bdice\b": "now_ns and random",
    r"change[-_ ]over\b": "rotation",
    r"wants to hear|\bfor word in .*\.take\(": "reply, outcome",
    r"\bat the door\b|bypassed the door|\bthe door\b": "validated on ingestion",
    r"\bQuill\b": "MessageWriter",
    r"\braw tape\b|\b(?:on|to|of) the tape\b|\bTape[A-Z]|\bTAPE_|_tape\b": "raw frames, raw topic",
    r"\b_(?:aside|judged|followed|is_leap|rivals|doubtful)\b|\bleaves_out\b": "a verb and its object",
}
"""Former words, as patterns, and the glossary's."""
HISTORY = ("docs/decisions/", "docs/benchmarks/", "CHANGELOG.md", "tests/test_words.py")
"""Told in the words of their day."""
TEXTS = (".py", ".md", ".sql", ".js", ".mjs", ".yaml", ".html", ".cfg", ".proto")


def texts() -> list[Path]:
    folders = ("etl", "dags", "plugins", "sql", "tests", "docs", "docker")
    found = [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*"))]
    names = {path: path.relative_to(ROOT).as_posix() for path in found if path.suffix in TEXTS}
    return [
        path
        for path, name in sorted(names.items())
        if not name.startswith(HISTORY) and not {"node_modules", "fixtures"} & set(path.parts)
    ]


@pytest.mark.parametrize("pattern", NOW_SAID_AS)
def test_a_former_word_is_not_used(pattern: str) -> None:
    former = re.compile(pattern)
    used = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts()
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if former.search(line)
    ]
    assert used == [], f"now: {NOW_SAID_AS[pattern]}"
