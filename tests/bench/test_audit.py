from __future__ import annotations

import pytest

from etl.bench.audit import fit


def test_growth_is_fitted_as_a_power_of_the_rows() -> None:
    assert fit({1_000: 0.2, 2_000: 0.4, 4_000: 0.8}) == {"a": 0.0002, "b": 1.0}
    assert fit({1_000: 1.0, 10_000: 100.0})["b"] == 2.0


def test_a_single_point_is_taken_as_linear() -> None:
    law = fit({1_000: 0.5})
    assert law["b"] == 1.0
    assert law["a"] == pytest.approx(0.0005)
