"""What comes before a socket: a turn among all who open some from this address, and a ticket where a venue hands out
some."""

from __future__ import annotations

import asyncio
import logging

from etl.adapter.contract import Exchange, Ticket
from etl.errors import VenueError
from etl.model.times import NS_PER_S
from etl.sources.history import History
from etl.sources.limiter import Limiter

_log = logging.getLogger(__name__)


async def await_turn(connects: Limiter | None, url: str) -> None:
    """Until the venue opens another connection to this address, whichever process opened the last ones."""
    while connects is not None and (wait_ns := connects.take(1)):
        _log.warning("%s: no connection for another %.1f s", url, wait_ns / NS_PER_S)
        await asyncio.sleep(wait_ns / NS_PER_S)


async def ticket_of(parser: Exchange, history: History | None) -> Ticket | None:
    """``None`` where the venue hands out none. Its answer holds a key, and does not get into the raw topic. Raises
    ``VenueError``."""
    request = parser.ticket_request()
    if request is None:
        return None
    if history is None:
        raise VenueError(f"{request.path}: the venue's request interface is needed for a ticket")
    return parser.read_ticket((await history.fetch(request)).payload)


def address_with(ticket: Ticket | None, url: str, exchange: Exchange) -> str:
    """Where to open the socket. What is behind a ``#`` in ``url`` is not sent. The place that a ticket names stands for
    the venue's own, and for no simulator's."""
    place = url.partition("#")[0]
    if ticket is None:
        return place
    if ticket.url and place.startswith(exchange.websocket_url):
        place = ticket.url
    return f"{place}{'&' if '?' in place else '?'}{ticket.query}"
