"""Names that others gave, as names of files. Pure."""

from __future__ import annotations

import hashlib
import re

SHOWN_CHARACTERS_MAX = 150
"""Of the name: file systems take 255 bytes, and what is written beside a file adds to its name."""
MARK = "~"


def file_name(text: str) -> str:
    """``text`` as the name of one file or folder, whatever it is: what can be shown of it, and a digest that keeps it
    apart from every other one and from ``..``."""
    shown = re.sub(r"[^A-Za-z0-9_.-]", "_", text)[:SHOWN_CHARACTERS_MAX]
    return f"{shown}{MARK}{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:16]}"


def shown_of(name: str) -> str:
    """What can be shown of the text that has this file name."""
    return name.rpartition(MARK)[0] or name
