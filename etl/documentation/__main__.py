"""``python -m etl.documentation``: every page that is made from the code, anew, and ``docs/llms.txt``."""

from __future__ import annotations

from etl.documentation.pages import DOCS, pages

for path, text in pages().items():
    (DOCS / path).parent.mkdir(parents=True, exist_ok=True)
    (DOCS / path).write_text(text)
    print(f"docs/{path}")
