"""Mails about incidents: at their opening, now and then while they last, at their end."""

from __future__ import annotations

import html
import logging
from urllib.parse import urljoin

from etl.embedded.airflow import url
from etl.model.times import NS_PER_S, text_of
from etl.monitoring import mail
from etl.monitoring.incidents import CRITICAL, Incident
from etl.settings import Settings, changed

_log = logging.getLogger(__name__)


def send(incident: Incident, settings: Settings, now_ns: int) -> bool:
    """The mail that is due for ``incident``; whether the server took it."""
    to = settings.mail.to
    if incident.finding.severity == CRITICAL and settings.mail.to_critical:
        to = settings.mail.to_critical
    try:
        mail.send(mail_of(incident, settings, now_ns), changed(settings, mail_to=to))
    except mail.MailError as error:
        _log.warning("%s; tried again at the next round", error)
        return False
    return True


def mail_of(incident: Incident, settings: Settings, now_ns: int) -> mail.Mail:
    """The mail that is due for ``incident``, as plain text and as HTML."""
    finding = incident.finding
    if incident.due == "recovered":
        subject = f"[recovered] {finding.title}"
        lasted_s = (incident.recovered_ns - finding.since_ns) / NS_PER_S
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
    links = {}
    if settings.monitor.airflow:
        links = {"Details": urljoin(url(settings) + "/", finding.link.lstrip("/")), "Airflow": url(settings)}
    text = "\n".join([finding.title, "", *(f"{name}: {value}" for name, value in (rows | links).items()), ""])
    cells = "".join(
        f"<tr><th align=left valign=top>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    anchors = " · ".join(f'<a href="{html.escape(link)}">{name}</a>' for name, link in links.items())
    body = f"<h2>{html.escape(finding.title)}</h2><table cellpadding=4>{cells}</table><p>{anchors}</p>"
    return mail.Mail(subject, text, body)
