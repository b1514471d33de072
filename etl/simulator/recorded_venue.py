"""A venue that is known by its recording alone: any client gets all of it, in the order in which it came.

What was recorded holds the venue's own greeting and acknowledgements, so a client that subscribes is answered
as the recorder was; what it says is not read. Requests get what was recorded for their path and query (``replay.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.session import Session
from etl.simulator.venue import Response, Venue

ALL = "*"
"""The one stream."""


class RecordedVenue(Venue):
    symbols = {}
    channels = {}
    dialect = Dialect(replies={})

    def opened(self, connection: Connection) -> None:
        connection.streams.add(ALL)

    def received(self, connection: Connection, text: str | bytes, others: Sequence[Connection]) -> None:
        """Nothing is asked for: everything comes."""

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        return Response(404, b"{}")
