"""Access to a venue that a test serves."""

from __future__ import annotations

from pathlib import Path

from etl.adapter.contract import Credentials, Exchange
from etl.sources.access import VenueAccess
from etl.sources.limiter import Limiter


def access_at(
    base_url: str, exchange: type[Exchange], state_path: Path, credentials: Credentials | None = None
) -> VenueAccess:
    """To ``exchange`` at ``base_url`` (http), without a budget."""
    limiter = Limiter(state_path / "limits" / exchange.name, ())
    websocket_url = base_url.replace("http", "ws", 1)
    return VenueAccess(
        exchange, credentials or Credentials(), {"": (websocket_url,)}, base_url, base_url, limiter
    )
