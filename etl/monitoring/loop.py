"""One round of the freshness monitor: look, judge, note, mail."""

from __future__ import annotations

import html
import logging
from urllib.parse import urljoin

from msgspec import Struct

from etl.embedded.airflow import url
from etl.exchanges import load as load_exchange
from etl.model.times import text_of
from etl.monitoring import incidents, mail
from etl.monitoring.collect import observe
from etl.monitoring.incidents import CRITICAL, Incident
from etl.monitoring.rules import IsOpen, Observed, findings
from etl.settings import Settings, changed
from etl.sources.market_hours import ALWAYS, MarketHours

_log = logging.getLogger(__name__)


class Round(Struct, frozen=True):
    """What a round found: open incidents by title, mails that the server has not taken yet."""

    open: list[str]
    mails_due: int


def watch(settings: Settings, now_ns: int, seen: Observed | None = None) -> Round:
    """Look at everything (or at ``seen``) as of ``now_ns``, and mail what is due. A mail server that is down raises
    nothing: its mails stay due for the next round."""
    with incidents.held(settings) as ledger:
        seen = observe(settings, now_ns) if seen is None else seen
        found = findings(seen, ledger.memory, settings, now_ns, sessions(settings))
        ledger.note(found, now_ns, settings.monitor.incident_reminder_s)
        due = ledger.deliver(lambda incident: _sent(incident, settings, now_ns), now_ns)
        return Round([one.finding.title for one in ledger.open()], due)


def sessions(settings: Settings) -> IsOpen:
    """When the market of an exchange is in session; a simulated venue always is."""
    by_calendar: dict[str, MarketHours] = {}

    def is_open(exchange: str, time_ns: int) -> bool:
        name = load_exchange(exchange).calendar if settings.venues.live else ALWAYS
        hours = by_calendar.get(name)
        if hours is None:
            hours = by_calendar[name] = MarketHours(name)
            hours.prepare(time_ns)
        return hours.is_open(time_ns)

    return is_open


def mail_of(incident: Incident, settings: Settings, now_ns: int) -> mail.Mail:
    """The mail that is due for ``incident``, as plain text and as HTML."""
    finding = incident.finding
    if incident.due == "recovered":
        subject = f"[recovered] {finding.title}"
        lasted_s = (incident.recovered_ns - finding.since_ns) / 1e9
        rows = {"Over since": text_of(incident.recovered_ns), "It lasted": f"{lasted_s:.0f} s"}
    else:
        mark = finding.severity if incident.due == "opened" else f"{finding.severity}, still"
        subject = f"[{mark}] {finding.title}"
        rows = {"How far": finding.how_far}
    rows = {"Since": text_of(finding.since_ns), **rows}
    if finding.exchange:
        rows["Venue"] = finding.exchange
    if finding.channels:
        rows["Channels"] = ", ".join(finding.channels)
    if finding.symbols:
        rows["Symbols"] = ", ".join(finding.symbols)
    if incident.due != "recovered":
        rows |= {"Likely cause": finding.cause, "What to do": finding.to_do}
    links = {"Details": urljoin(url(settings) + "/", finding.link.lstrip("/")), "Airflow": url(settings)}
    text = "\n".join([finding.title, "", *(f"{name}: {value}" for name, value in (rows | links).items()), ""])
    cells = "".join(
        f"<tr><th align=left valign=top>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    anchors = " · ".join(f'<a href="{html.escape(link)}">{name}</a>' for name, link in links.items())
    body = f"<h2>{html.escape(finding.title)}</h2><table cellpadding=4>{cells}</table><p>{anchors}</p>"
    return mail.Mail(subject, text, body)


def _sent(incident: Incident, settings: Settings, now_ns: int) -> bool:
    to = settings.mail.to
    if incident.finding.severity == CRITICAL and settings.mail.to_critical:
        to = settings.mail.to_critical
    try:
        mail.send(mail_of(incident, settings, now_ns), changed(settings, mail_to=to))
    except mail.MailError as error:
        _log.warning("%s; tried again at the next round", error)
        return False
    return True
