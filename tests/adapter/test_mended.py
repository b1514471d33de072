from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.adapter.mended import MENDED_WORDS_MAX, mended

MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b'[{"p":NaN}, 1]', b'[{"p":"NaN"}, 1]'),
        (b"[007, 0x1F, -Infinity, 1.]", b'["007", "0x1F", "-Infinity", "1."]'),
        (rb"[a\b, true, tru, nullx]", b'["a?b", true, "tru", "nullx"]'),
        (rb'["\ud800", "\ud83d\ude00", "\"NaN\\"]', b'["\xff", "' + rb'\ud83d\ude00", "\"NaN\\"]'),
        (b'[1, "without end', b'[1, "without end'),
        (b"", b""),
    ],
)
def test_words_that_json_has_not_become_text(said: bytes, meant: bytes) -> None:
    assert mended(said) == meant


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_json_stays_as_it_is(value: object) -> None:
    try:
        said = json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half a pair
        return
    assert mended(said) == said


@pytest.mark.parametrize(
    "part",
    [
        b"NaN,",
        b"1,",
        b'"a",',
        b"a ",
        b'"',
        b"\\",
        b'"\\',
        b"1.",
        b"[",
        rb'"\ud800",',
        rb"\ud800",
        b"-",
        b"1e",
        b"\xff",
    ],
)
def test_a_megabyte_of_anything_takes_a_moment(part: bytes) -> None:
    began_s = time.process_time()
    for opening in (b"[\xff", b'["\xff'):
        mended(opening + part * (MEGABYTE // len(part)))
    assert time.process_time() - began_s < 1.0


def test_a_frame_of_too_many_such_words_stays_as_it_is() -> None:
    assert mended(b"[" + b"NaN," * MENDED_WORDS_MAX + b"1]") == b"[" + b'"NaN",' * MENDED_WORDS_MAX + b"1]"
    said = b"[" + b"NaN," * (MENDED_WORDS_MAX + 1) + b"1]"
    assert mended(said) == said
