"""What a ClickHouse statement is, as far as the front must know: an insert with its data, or anything else.

Pure. Strings, quoted names and comments are stepped over; nothing else of the grammar is known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

HEAD_BYTES_MAX = 1 << 16
"""The statement of an insert, without its data, must end within so many bytes: each is looked at as text, data too."""

_TOKEN = re.compile(
    r"""
      (?P<blank>\s+ | --[^\n]* | \#[!\ ][^\n]* | /\*.*?\*/)
    | (?P<quoted>'(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.)*" | `(?:[^`\\]|\\.)*` | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<word>\w+)
    | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_DATA_START = re.compile(rb"[ \t\r]*\n?")


class Insert(Struct, frozen=True):
    """``head`` is the statement up to SETTINGS or FORMAT, ``clause`` its SETTINGS; ``data`` is in ``format``."""

    head: str
    format: str
    data: bytes
    clause: str = ""


class Plain(Struct, frozen=True):
    """Everything else. ``format`` is the one it asks for, or empty; ``reads`` holds for SELECT and WITH."""

    text: str
    format: str
    reads: bool
    totals: bool


class SeveralStatements(ValueError):
    pass


def parse(text: str, body: bytes, default_format: str = "") -> Insert | Plain:
    """``text`` is the URL's query, ``body`` the request's; together they are one statement.

    Raises ``SeveralStatements``, and ``ValueError`` for a statement that is not UTF-8.
    """
    whole = text.encode() + b"\n" + body if text else body
    head = whole[:HEAD_BYTES_MAX].decode("utf-8", "ignore")
    insert = _as_insert(head, whole, default_format)
    if insert is not None:
        return insert
    return _as_plain(whole.decode())


def _as_insert(head: str, whole: bytes, default_format: str) -> Insert | None:
    words = _outer_words(head)
    if next(words, ("", 0, 0))[0] != "INSERT":
        return None
    clause_start = 0
    for word, start, _ in words:
        if word in ("VALUES", "SELECT", "WITH", "WATCH"):
            return None
        if word == "SETTINGS":
            clause_start = start
        if word == "FORMAT":
            name, _, end = next(words, ("", 0, 0))
            offset = len(head[:end].encode())
            blank = _DATA_START.match(whole, offset)
            data = whole[blank.end() if blank else offset :]
            cut = clause_start or start
            return Insert(head[:cut], _exact(head, name, end), data, clause=head[cut:start])
    if default_format and "\n" in head:
        line, _, _ = head.partition("\n")
        return Insert(line, default_format, whole[len(line.encode()) + 1 :])
    return None


def _as_plain(text: str) -> Plain:
    first, last, before_last, format_name, totals = "", "", "", "", False
    for word, _, end in _outer_words(text):
        first = first or word
        if first == "INSERT" and word in ("VALUES", "SELECT", "WITH"):
            return Plain(text, "", reads=False, totals=False)
        if last == "FORMAT":
            format_name = _exact(text, word, end)
        elif format_name and before_last == "FORMAT" and word != "SETTINGS":
            format_name = ""  # it was a column or a function of that name
        totals = totals or (last == "WITH" and word in ("TOTALS", "ROLLUP", "CUBE"))
        before_last, last = last, word
    return Plain(text, format_name, reads=first in ("SELECT", "WITH"), totals=totals)


def tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind (``quoted``, ``word``, ``mark``) and text of every token that is not blank."""
    for token in _TOKEN.finditer(text):
        if token.lastgroup != "blank":
            yield str(token.lastgroup), token.group()


def _exact(text: str, word: str, end: int) -> str:
    return text[end - len(word) : end]


def _outer_words(text: str) -> Iterator[tuple[str, int, int]]:
    """Words outside of brackets, in capitals, with their bounds. Raises ``SeveralStatements``."""
    depth, ended = 0, False
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "blank":
            continue
        if ended and token.group() != ";":
            raise SeveralStatements("Multi-statements are not allowed")
        if kind == "word" and depth == 0:
            yield token.group().upper(), token.start(), token.end()
        elif kind == "mark":
            mark = token.group()
            depth += (mark in "([{") - (mark in ")]}")
            ended = ended or mark == ";"
