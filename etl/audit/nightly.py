"""One day's audit: every check of every store, the totals across them, the expectations; findings kept, a mail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from etl.audit import findings
from etl.audit.checks import run_checks, stores
from etl.audit.expectations import data_docs_path, run_expectations
from etl.audit.findings import Finding
from etl.audit.offence import Offence
from etl.audit.totals import compare, read_totals
from etl.monitoring.mail import Mail, send
from etl.monitoring.processes import platform, unknown_fields
from etl.settings import Settings
from etl.stores.timescale import session

ALL_STORES = ("clickhouse", "timescale", "lake", "all")
FINDINGS_MAILED_MAX = 50


class AuditReport(Struct, frozen=True):
    """``offences`` are this night's; ``open_findings`` what is not suppressed."""

    day: date
    offences: Sequence[Offence]
    open_findings: Sequence[Finding]
    suppressed: int
    unknown_fields: Mapping[str, Mapping[str, float]] = {}
    """Of the workers that run: venue → ``event.member`` → in how many of the events looked at."""


def audit(settings: Settings, day: date, with_expectations: bool = True) -> AuditReport:
    """Audit one UTC day and keep what it finds. Raises ``StoreError`` if a store is down: nothing is kept then."""
    offences = [offence for store in stores() for offence in run_checks(settings, day, store)]
    totals = read_totals(settings, day)
    offences += compare(totals)
    if with_expectations and totals["timescale"]:  # an empty day is not worth the seconds of its import
        offences += run_expectations(settings, day)
    with session(settings) as connection:
        findings.record(connection, offences, day, ALL_STORES)
        of_day = findings.findings(connection, day)
    return AuditReport(
        day=day,
        offences=offences,
        open_findings=[finding for finding in of_day if finding.state == "open"],
        suppressed=sum(finding.state == "suppressed" for finding in of_day),
        unknown_fields=unknown_fields(platform(settings)[0]),
    )


def audit_and_tell(settings: Settings, day: date) -> dict[str, Any]:
    """Audit ``day``; mail what is open and what venues have changed, if anything; the counts. Raises ``EtlError``."""
    report = audit(settings, day)
    if report.open_findings or report.unknown_fields:
        send(mail_of(report, settings), settings)
    return {
        "day": str(day),
        "offences": len(report.offences),
        "open": len(report.open_findings),
        "suppressed": report.suppressed,
    }


def mail_of(report: AuditReport, settings: Settings) -> Mail:
    """The summary; counts by check first, then the findings themselves up to a limit."""
    counts = Counter((f.check_name, f.store, f.table_name) for f in report.open_findings)
    lines = [
        f"Audit of {report.day}: {len(report.open_findings)} open findings, {report.suppressed} suppressed.",
        "",
        *(f"{count:>6}  {check} ({store}, {table})" for (check, store, table), count in counts.most_common()),
        "",
        *(
            f"{f.check_name} {f.store} {f.table_name}: {f.key}: {f.detail}"
            for f in report.open_findings[:FINDINGS_MAILED_MAX]
        ),
    ]
    if len(report.open_findings) > FINDINGS_MAILED_MAX:
        lines.append(f"… and {len(report.open_findings) - FINDINGS_MAILED_MAX} more: etl audit findings")
    if report.unknown_fields:
        lines += ["", "Members of events that no venue file knows (the venue has changed something):"]
    for exchange, by_field in sorted(report.unknown_fields.items()):
        lines += [f"{count:>6.0f}  {exchange} {name}" for name, count in sorted(by_field.items())]
    lines += [
        "",
        f"Data Docs: {data_docs_path(settings) / 'index.html'}",
        "etl audit findings; etl audit suppress",
    ]
    verdict = f"{len(report.open_findings)} findings" if report.open_findings else "clean"
    return Mail(subject=f"[market data] audit {report.day}: {verdict}", text="\n".join(lines))
