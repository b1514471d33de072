"""One round of the monitor: collect, judge by the rules, note incidents, send the mails that are due."""

from __future__ import annotations

from functools import cache

from msgspec import Struct

from etl.exchanges import load as load_exchange
from etl.monitoring import incidents
from etl.monitoring.alerts import send
from etl.monitoring.collect import collect
from etl.monitoring.rules import IsOpen, Observed, findings
from etl.settings import Settings
from etl.settings.sections import Venues
from etl.sources.market_hours import MarketHours


class Round(Struct, frozen=True):
    """What a round found: open incidents by title, mails that the server has not taken yet."""

    open: list[str]
    mails_due: int


def run_round(settings: Settings, now_ns: int, observed: Observed | None = None) -> Round:
    """Judge everything (or ``observed``) as of ``now_ns``, and mail what is due. A mail server that is down raises
    nothing: its mails stay due for the next round."""
    with incidents.held(settings.state_path) as ledger:
        observed = collect(settings, now_ns) if observed is None else observed
        found = findings(observed, ledger.memory, settings.monitor, now_ns, sessions(settings.venues))
        ledger.note(found, now_ns, settings.monitor.incident_reminder_s)
        due = ledger.deliver(lambda incident: send(incident, settings, now_ns), now_ns)
        return Round([one.finding.title for one in ledger.open()], due)


def sessions(venues: Venues) -> IsOpen:
    """When the market of an exchange is in session; a simulated venue always is."""
    hours_of = cache(lambda exchange: MarketHours.of(load_exchange(exchange), venues.live))
    return lambda exchange, time_ns: hours_of(exchange).is_open(time_ns)
