from __future__ import annotations

import pytest

from etl.model.times import interval_ns


@pytest.mark.parametrize(("text", "ns"), [("1s", 10**9), ("5m", 300 * 10**9), ("1M", 0), ("", 0), ("²m", 0)])
def test_only_fixed_intervals_have_a_length(text: str, ns: int) -> None:
    assert interval_ns(text) == ns
