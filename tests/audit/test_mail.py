"""What the nightly summary says."""

from __future__ import annotations

from datetime import date

from prometheus_client.parser import text_string_to_metric_families

from etl.audit.nightly import AuditReport, mail_of
from etl.monitoring.processes import unknown_fields
from etl.settings import make

METRICS = """# TYPE etl_unknown_fields_total counter
etl_unknown_fields_total{exchange="polygon",event="AM",field="dv"} 7
etl_unknown_fields_total{exchange="polygon",event="AM",field="otc"} 1
etl_unknown_fields_total{exchange="binance_usdm",event="trade",field="rpi"} 2
"""


def test_members_that_no_venue_file_knows_are_in_the_summary_of_a_clean_day_too() -> None:
    found = [sample for family in text_string_to_metric_families(METRICS) for sample in family.samples]
    by_venue = unknown_fields({"etl_unknown_fields_total": found})
    assert by_venue == {"polygon": {"AM.dv": 7, "AM.otc": 1}, "binance_usdm": {"trade.rpi": 2}}
    mail = mail_of(AuditReport(date(2026, 11, 29), [], [], 0, by_venue), make())
    assert mail.subject.endswith("clean")
    assert "     2  binance_usdm trade.rpi\n     7  polygon AM.dv\n     1  polygon AM.otc\n" in mail.text
    assert "no venue file knows" not in mail_of(AuditReport(date(2026, 11, 29), [], [], 0), make()).text
