"""A proof that holds is a rule that is silent: of any numbers, for every rule that has a proof."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.express.encoders import encoders
from etl.express.proofs import NUMBERS, PROOFS, packed, proofs_of
from etl.model.records import Kind, Severity
from etl.validation import rules
from etl.validation.rules import Rule
from etl.validation.specs import SPECS
from etl.validation.views import INFINITY, NAN

STATE = encoders(True)[1]
pytestmark = pytest.mark.skipif(STATE != "compiled", reason=STATE)

COMMON = (Kind.TRADE, Kind.AGG_TRADE, Kind.LIQUIDATION, Kind.QUOTE, Kind.BOOK, Kind.BAR)
ALONE = [rule for rule, proof in PROOFS.items() if proof]
"""Those of times are proved by the step itself; ``test_step.py`` holds it to them."""
EDGES = (
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    0.01,
    1e-8,
    2.0,
    100.0,
    61837.63,
    61837.635,
    1e9,
    1e12,
    1e13,
    1e15,
    INFINITY,
    -INFINITY,
    NAN,
)
ANY = st.sampled_from(EDGES) | st.floats(-10, 10) | st.integers(-3, 300).map(lambda n: n / 100)


def view_of(numbers: dict[str, float]) -> Any:
    """As the rules see it; what they make of several numbers is put among ``numbers`` as the step does."""
    interval_ns = int(abs(numbers["price"])) if math.isfinite(numbers["price"]) else 0
    event_time_ns = int(abs(numbers["size"])) if math.isfinite(numbers["size"]) else 7
    numbers |= {"zero": 0.0, "infinite": INFINITY, "interval_ns": float(interval_ns)}
    numbers["misaligned"] = float(event_time_ns % interval_ns) if interval_ns else 0.0
    numbers["quote_least"] = numbers["low"] * numbers["size"] * (1 - rules.VOLUME_TOLERANCE)
    numbers["quote_most"] = numbers["high"] * numbers["size"] * (1 + rules.VOLUME_TOLERANCE)
    numbers["uneven"] = float(numbers["uneven"] > 0)
    others = {
        "event_time_ns": event_time_ns,
        "interval_ns": interval_ns,
        "is_snapshot": True,
        "uneven": bool(numbers["uneven"]),
        "price_may_be_zero": False,
        "price_step_former": NAN,
        "price_step_since_ns": 0,
    }
    numbers["price_step"] = abs(numbers["price_step"]) or NAN
    return SimpleNamespace(**{**numbers, **others})


@given(st.lists(ANY, min_size=len(NUMBERS), max_size=len(NUMBERS)))
def test_whatever_is_proved_no_rule_finds_anything_in(drawn: list[float]) -> None:
    from etl.express import _step

    numbers = dict(zip(NUMBERS, drawn, strict=True))
    view = view_of(numbers)
    vector = tuple(float(numbers[name]) for name in NUMBERS)
    for rule in ALONE:
        if _step.all_hold(packed(PROOFS[rule]), vector, rules.ROUNDING, rules.TICK_TOLERANCE):
            assert not rule(view), rule.__name__


def test_the_rule_of_steps_is_proved_as_it_computes() -> None:
    from etl.express import _step

    rows, silent = packed(PROOFS[rules.price_off_tick]), 0
    for cents in range(1, 4_000):
        for price_step in (0.01, 0.05, 1e-8, 0.025, 3.0):
            price = cents / 100
            vector = tuple(
                {
                    "price": price,
                    "price_step": price_step,
                    "price_figures": INFINITY,
                    "infinite": INFINITY,
                }.get(name, 0.0)
                for name in NUMBERS
            )
            view = SimpleNamespace(
                price=price, price_step=price_step, price_figures=INFINITY, price_step_former=NAN
            )
            holds = _step.all_hold(rows, vector, rules.ROUNDING, rules.TICK_TOLERANCE)
            assert holds is not bool(rules.price_off_tick(view))
            silent += holds
    assert 4_000 < silent < 16_000


@pytest.mark.parametrize("kind", COMMON)
def test_every_rule_of_the_common_kinds_has_a_proof(kind: Kind) -> None:
    comparisons = proofs_of(SPECS[kind])
    assert comparisons
    assert {name for _, left, right in comparisons for name in (left, right)} <= set(NUMBERS)


def test_a_rule_without_a_proof_leaves_its_kind_to_the_plain_way() -> None:
    def new_rule(view: Any) -> Any:
        return False

    spec = SPECS[Kind.TRADE]
    more = (*spec.rules, Rule(spec.rules[0].code, Severity.HARD, new_rule))
    assert proofs_of(msgspec.structs.replace(spec, rules=more)) is None
