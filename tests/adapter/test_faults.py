from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.adapter.back_off import ASKED_WAIT_MAX_S
from etl.adapter.contract import Fault, FaultCode, FaultKind
from etl.adapter.faults import (
    BACK_OFF_MAX_S,
    POLICIES,
    REASON_CHARACTERS_MAX,
    VENUE_WAIT_MAX_S,
    VENUE_WAIT_S,
    Failures,
    Tier,
    fault_of_close,
    fault_of_status,
    policy_of,
    retry_after_s,
    wait_s,
)
from etl.exchanges import load, names


def test_every_fault_has_a_policy_and_ready_is_none() -> None:
    assert set(POLICIES) == set(FaultKind) - {FaultKind.READY}


@pytest.mark.parametrize("kind", POLICIES)
def test_what_the_venue_refuses_pages_and_what_the_network_does_does_not(kind: FaultKind) -> None:
    policy = POLICIES[kind]
    assert policy.pages == (policy.tier is Tier.VENUE)


def test_a_broken_socket_is_tried_again_within_thirty_seconds_at_random() -> None:
    longest = [wait_s(None, failures, 0.999999) for failures in range(40)]
    assert longest == sorted(longest)
    assert 0 < longest[0] <= 0.25
    assert longest[-1] <= BACK_OFF_MAX_S == 30.0
    assert wait_s(None, 39, 0.0) == 0.0


@pytest.mark.parametrize("kind", [kind for kind, policy in POLICIES.items() if policy.pages])
def test_a_refusing_venue_is_not_hammered(kind: FaultKind) -> None:
    waits = [wait_s(Fault(kind, "", ""), failures, 0.0) for failures in range(40)]
    assert waits[0] >= 30.0
    assert waits == sorted(waits)
    assert waits[-1] == VENUE_WAIT_MAX_S


def test_a_refusal_behind_network_losses_is_waited_out_as_the_first_and_a_loss_behind_refusals_too() -> None:
    failures = Failures()
    refusal = Fault(FaultKind.CONNECTION_LIMIT, "", "")
    told = [None, None, None, refusal, None, refusal, None]
    assert [failures.add(fault, 1.0) for fault in told] == [0.25, 0.5, 1.0, 30.0, 2.0, 60.0, 4.0]
    failures.clear()
    assert [failures.add(fault, 1.0) for fault in (refusal, None)] == [30.0, 0.25]


@pytest.mark.parametrize("kind", POLICIES)
def test_the_venues_own_wait_is_the_least(kind: FaultKind) -> None:
    assert wait_s(Fault(kind, "429", "", retry_after_s=9_999.0), 0, 0.0) == 9_999.0


def test_no_fault_is_a_network_matter() -> None:
    assert policy_of(None) is policy_of(Fault(FaultKind.TRANSIENT, "", ""))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("60", 60.0),
        (" 7 ", 7.0),
        ("Sun, 29 Nov 2026 11:00:30 GMT", 30.0),
        ("Sun, 29 Nov 2026 10:00:00 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("Sun, 99 Nov 2026", 0.0),
        ("1.5", 1.5),
        ("Sunday, 29-Nov-26 11:00:30 GMT", 30.0),
        ("Sun Nov 29 11:00:30 2026", 30.0),
        ("Sun, 29 Nov 2026 13:00:30 +0200", 30.0),
        ("99999999999", ASKED_WAIT_MAX_S),
        ("9" * 400, ASKED_WAIT_MAX_S),
        ("Sun, 29 Nov 9999 11:00:30 GMT", ASKED_WAIT_MAX_S),
        ("Sun, 29 Nov 2026 11:00:30 +9999999999", 0.0),
        ("nan", 0.0),
        ("inf", 0.0),
        ("1e9", 0.0),
        ("\u0663", 0.0),
        (".", 0.0),
    ],
)
def test_how_long_a_refusal_asks_us_to_wait(text: str, seconds: float) -> None:
    at_eleven = datetime(2026, 11, 29, 11, tzinfo=UTC).timestamp()
    assert retry_after_s(text, at_eleven) == seconds


@given(text=st.text(max_size=60))
def test_no_text_of_a_venue_asks_for_more_than_a_named_wait(text: str) -> None:
    assert 0.0 <= retry_after_s(text, 1_790_000_000.0) <= ASKED_WAIT_MAX_S


@pytest.mark.parametrize("asked_s", [float("nan"), float("inf"), float("-inf"), -5.0, 1e300])
def test_what_a_venue_file_reads_as_a_wait_is_granted_within_reason(asked_s: float) -> None:
    fault = Fault(FaultKind.BANNED, "418", "", retry_after_s=asked_s)
    assert wait_s(fault, 0, 0.0) == (ASKED_WAIT_MAX_S if asked_s > 0 else VENUE_WAIT_S)


def test_who_stands_before_a_venue_may_shut_us_out_whatever_the_status() -> None:
    kinds = [fault_of_status(status, "Error code: 1015").kind for status in (403, 429, 503)]
    assert kinds == [FaultKind.BANNED] * 3
    assert fault_of_status(403, "error code: 1020").kind is FaultKind.ENTITLEMENT


def test_a_code_means_what_the_venue_says_and_else_what_it_means_everywhere() -> None:
    declared = (
        FaultCode(403, FaultKind.ENTITLEMENT, "country"),
        FaultCode(403, FaultKind.BANNED, wait_s=600.0),
        FaultCode(4005, FaultKind.SLOW_CLIENT),
    )
    blocked = fault_of_status(403, "x" * 300 + "Your Country", 0.0, declared)
    assert blocked == Fault(FaultKind.ENTITLEMENT, "403", "x" * REASON_CHARACTERS_MAX)
    assert fault_of_status(403, "", 7.0, declared) == Fault(FaultKind.BANNED, "403", "", 600.0)
    assert fault_of_status(403, "", 700.0, declared).retry_after_s == 700.0
    assert fault_of_status(429, "slow down", 0.0, declared) == Fault(FaultKind.RATE_LIMIT, "429", "slow down")
    assert fault_of_close(4005, "buffer", declared) == Fault(FaultKind.SLOW_CLIENT, "4005", "buffer")
    assert fault_of_close(1006, "", declared) is None


@pytest.mark.parametrize("name", names())
def test_every_declared_code_is_a_status_or_a_close_code_with_small_words(name: str) -> None:
    for one in load(name).fault_codes:
        assert 400 <= one.code < 600 or 1000 <= one.code < 5000
        assert one.words == one.words.lower()
        assert one.kind is not FaultKind.READY


B, E, R, T = FaultKind.BANNED, FaultKind.ENTITLEMENT, FaultKind.RATE_LIMIT, FaultKind.TRANSIENT


@pytest.mark.parametrize(
    ("venue", "status", "said", "kind", "wait_s"),
    [
        ("binance_usdm", 403, "", B, 0.0),
        ("binance", 418, "", B, 0.0),
        ("binance", 451, "", E, 0.0),
        ("okx_swap", 403, "", E, 0.0),
        ("okx", 429, '{"code":"50011","msg":"Too Many Requests"}', R, 2.0),
        ("okx", 429, '{"code":"50013","msg":"Systems are busy"}', T, 0.0),
        ("okx", 410, '{"code":"50005","msg":"API is offline"}', T, 0.0),
        ("bybit", 403, "access too frequent", B, 600.0),
        ("bybit_option", 403, "", B, 600.0),
        ("bybit", 403, "configured to block access from your country", E, 0.0),
        ("bybit", 429, "System level frequency protection", T, 0.0),
        ("bybit", 429, "", R, 0.0),
        ("kraken", 403, "Access denied", B, 600.0),
        ("kraken_v1", 429, "error code: 1015", B, 600.0),
        ("kraken", 429, "EAPI:Rate limit exceeded", R, 5.0),
        ("kraken", 520, "", T, 0.0),
        ("coinbase", 403, "", E, 0.0),
        ("coinbase_advanced", 429, '{"message":"Public rate limit exceeded"}', R, 0.0),
        ("kalshi", 403, "", E, 0.0),
        ("kalshi", 410, "", FaultKind.REQUEST, 0.0),
    ],
)
def test_what_a_status_of_each_venue_means(
    venue: str, status: int, said: str, kind: FaultKind, wait_s: float
) -> None:
    fault = fault_of_status(status, said, 0.0, load(venue).fault_codes)
    assert (fault.kind, fault.retry_after_s) == (kind, wait_s)


def test_what_the_close_codes_of_okx_mean() -> None:
    codes = (1000, 1009, *range(4001, 4010))
    faults = [fault_of_close(code, "", load("okx_futures").fault_codes) for code in codes]
    assert [fault and fault.kind.value for fault in faults] == [
        None, "request", "authentication", "request", "subscription_limit", "transient", "slow_client", "transient",
        "authentication", "subscription_limit", "subscription_limit",
    ]  # fmt: skip


def test_a_status_that_says_nothing_of_us_may_pass() -> None:
    for status in (408, 500, 502, 503, 504, 302):
        assert policy_of(fault_of_status(status, "")).tier is Tier.NETWORK
    for status in (400, 401, 403, 404, 405, 410, 418, 429, 451):
        assert policy_of(fault_of_status(status, "")).pages
