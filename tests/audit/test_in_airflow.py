"""The DAG as Airflow runs it, a night over stores with planted errors; ``test_nightly.py`` has those that follow."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from pathlib import Path

import psycopg
import pytest

from etl.audit import findings
from etl.audit.expectations import data_docs_path
from etl.audit.findings import Finding, Suppression
from etl.embedded.mailbox import mailbox_part
from etl.settings import Settings
from etl.stores.timescale import session
from tests.support.airflow import airflow, new_metadata
from tests.support.audit_stores import DAY, clean_day, store_in_clickhouse, trade
from tests.support.servers import RunningPart

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

PLANTED = {
    ("trades_out_of_bounds", "clickhouse", "trades", "binance BTC-USDT 100"),
    ("trade_ids_missing", "clickhouse", "trades", "binance BTC-USDT 101-104"),
    ("totals_differ", "all", "trades", "binance BTC-USDT"),
    ("totals_differ", "all", "quotes", "binance BTC-USDT"),
    ("expect_column_values_to_be_between", "timescale", "quotes", "ask_size"),
}
SILENCED = ("trade_ids_missing", "clickhouse", "trades", "binance BTC-USDT 101-104")


def test_a_night_in_airflow_finds_what_is_planted_and_tells_it_as_the_rules_say(
    settings_with: Callable[..., Settings], crashable: Callable[..., RunningPart], tmp_path: Path
) -> None:
    mailbox = crashable(mailbox_part)
    settings = clean_day(settings_with, smtp_url=mailbox.settings.smtp_address)
    store_in_clickhouse(settings, [trade(100, price="0"), trade(105)], "planted")
    with psycopg.connect(settings.timescale_address, autocommit=True) as connection:
        connection.execute("UPDATE quotes SET ask_size = -1 WHERE record_key = 'q3'")
        connection.execute("DELETE FROM quotes WHERE record_key = 'q4'")
    home = tmp_path / "airflow"
    home.mkdir()
    new_metadata(home, settings)
    now = datetime.now(UTC)
    with session(settings) as connection:
        rule = Suppression(reason="known", expires=now + timedelta(days=1), check_name="trade_ids_missing")
        findings.suppress(connection, rule)
        expired = Suppression(reason="old", expires=now - timedelta(days=1), check_name="totals_differ")
        findings.suppress(connection, expired)

    found = night(home, settings)
    assert {key(finding) for finding in found} == PLANTED
    assert {key(finding) for finding in found if finding.state == "suppressed"} == {SILENCED}
    assert {finding.nights for finding in found} == {1}
    [told] = mails(mailbox)
    assert "4 open findings, 1 suppressed" in told
    assert "101-104" not in told
    assert (data_docs_path(settings) / "index.html").exists()


def night(home: Path, settings: Settings) -> list[Finding]:
    """Every finding after one run of the DAG."""
    done = airflow(home, settings, "dags", "test", "audit_data", "--conf", f'{{"day": "{DAY}"}}')
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    with session(settings) as connection:
        return findings.findings(connection)


def key(finding: Finding) -> tuple[str, str, str, str]:
    return (finding.check_name, finding.store, finding.table_name, finding.key)


def mails(mailbox: RunningPart) -> list[str]:
    """The texts, oldest first."""
    kept = sorted((mailbox.settings.state_path / "mailbox").glob("*.eml"))
    messages = [message_from_bytes(path.read_bytes()) for path in kept]
    return [part.get_payload(decode=True).decode() for mail in messages for part in [next(mail.walk())]]  # type: ignore[union-attr]
