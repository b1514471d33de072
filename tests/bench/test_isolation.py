from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from etl.bench.isolation import PHASES, QUIET, TROUBLED, Bench, first_venues
from etl.bench.verdict import ZERO
from etl.errors import UsageError
from etl.exchanges import streamed
from etl.simulator import venues as simulated


def test_the_first_venues_are_one_of_each_family_before_their_sisters() -> None:
    families = {name.partition("_")[0] for name in simulated.names() if name in streamed()}
    assert [name.partition("_")[0] for name in first_venues(len(families))] == sorted(families)
    with pytest.raises(UsageError, match="simulated venues"):
        first_venues(1_000)


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_blocked_a_flooded_and_a_garbling_venue_cost_no_event_of_any(tmp_path: Path) -> None:
    bench = Bench(tmp_path, ("binance", "okx", "coinbase", "kraken"), seconds=4.0, rate=40.0, flood=10)
    result = asyncio.run(bench.result(rounds=1, until_bar=False))
    assert {name: result[name] for name in ZERO} == dict.fromkeys(ZERO, 0), result
    assert (result["blocked"], result["flooded"], result["garbling"]) == ("binance", "okx", "coinbase")
    assert result["declared_missing"] > 0  # what was garbled
    for phase in PHASES:
        assert result["frames"][phase] > 4 * 40 / 2
    for rank in ("p50", "p95", "p99"):
        quiet, troubled = (result["latency_ms"][phase][rank]["median"] for phase in (QUIET, TROUBLED))
        assert result["ratio"][rank]["median"] == pytest.approx(troubled / quiet, abs=0.01)
