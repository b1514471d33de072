"""Which parser reads what: a venue's protocols by their times. Pure."""

from __future__ import annotations

from etl.adapter.contract import Exchange


def parser_at(exchange: type[Exchange], time_ns: int) -> type[Exchange]:
    """The parser of the protocol that was spoken at ``time_ns``: the receipt of a connection's first frame."""
    return next((parser for until_ns, parser in exchange.versions if time_ns < until_ns), exchange)
