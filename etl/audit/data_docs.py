"""The Data Docs: what was expected of each table on a day, and what of it was met, as one page a day and an index.

Not the pages of Great Expectations: those load scripts and styles of nine hosts, and the values of the stores, which
are a venue's words, stand in them as script. These have no script, no form and no file beside them: whatever a value
says, it is text. The plugin serves them with the same policy as a header, and sandboxed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

from msgspec import Struct

from etl.stores.files import write_whole

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 1100px; padding: 16px; font: 14px/1.45 system-ui, sans-serif; }
h1 { font-size: 20px; } h2 { font-size: 16px; margin: 28px 0 8px; }
nav a { margin-right: 12px; white-space: nowrap; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th:nth-child(1) { width: 8%; } th:nth-child(2) { width: 18%; } th:nth-child(3) { width: 34%; }
th, td { padding: 5px 12px 5px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8884; }
td { overflow-wrap: anywhere; } td:first-child { white-space: nowrap; }
.met { color: light-dark(#14713d, #6fdc9c); } .missed { color: light-dark(#b3261e, #ff9b93); font-weight: 600; }
ul { margin: 4px 0 0; padding-left: 18px; }
"""


class Expected(Struct, frozen=True):
    """One expectation of a table and what became of it; ``rows`` are the first that do not meet it."""

    column: str
    rule: str
    bounds: Mapping[str, Any]
    met: bool
    problem: str = ""
    rows: Sequence[Mapping[str, Any]] = ()


def write_data_docs(folder: Path, day: date, tables: Mapping[str, Sequence[Expected]]) -> None:
    """The page of ``day``, in place of one that there is, and the index: the newest day's page with links to all."""
    write_whole(folder / f"{day}.html", _page(f"Expectations of {day}", _tables(tables)).encode())
    pages = sorted(folder.glob("????-??-??.html"), reverse=True)
    links = " ".join(f'<a href="{page.name}">{page.stem}</a>' for page in pages)
    newest = pages[0].read_text().replace("<main>", f"<nav>{links}</nav><main>", 1)
    write_whole(folder / "index.html", newest.encode())


def _tables(tables: Mapping[str, Sequence[Expected]]) -> str:
    parts = []
    for table, expected in tables.items():
        missed = sum(not one.met for one in expected)
        verdict = (
            f'<span class="missed">{missed} not met</span>' if missed else '<span class="met">all met</span>'
        )
        lines = "".join(_line(one) for one in sorted(expected, key=lambda one: one.met))
        parts.append(
            f"<h2>{escape(table)}: {len(expected)} expectations, {verdict}</h2>"
            f"<table><tr><th></th><th>column</th><th>rule</th><th>found</th></tr>{lines}</table>"
        )
    return "".join(parts)


def _line(one: Expected) -> str:
    verdict = '<td class="met">met</td>' if one.met else '<td class="missed">not met</td>'
    rule = " ".join([one.rule, *(f"{name}={value}" for name, value in one.bounds.items())])
    rows = "".join(
        f"<li>{escape(', '.join(f'{name} {value}' for name, value in row.items()))}</li>" for row in one.rows
    )
    found = escape(one.problem) + (f"<ul>{rows}</ul>" if rows else "")
    return f"<tr>{verdict}<td>{escape(one.column)}</td><td>{escape(rule)}</td><td>{found}</td></tr>"


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)}</h1><main>{body}</main></body></html>\n"
    )
