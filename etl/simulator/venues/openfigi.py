"""A simulated OpenFIGI.

POST /openfigi/v3/mapping  [{"idType":"TICKER","idValue":"AAPL","exchCode":"US"}]  a result a job, in their order

It knows the simulated stocks of the US, and one share of India by its ISIN. A key of any text will do; without one the answer is 401, with more than
``JOBS_MAX`` jobs 413, beyond ``limit`` 429 with the seconds until it is over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from etl.model.times import NS_PER_S
from etl.simulator.dialect import Dialect
from etl.simulator.limit import Limit
from etl.simulator.market import Instrument
from etl.simulator.session import Session
from etl.simulator.stocks import FIGIS
from etl.simulator.venue import Channel, Response, Venue
from etl.simulator.words import Template

KEY_HEADER = "X-OPENFIGI-APIKEY"
JOBS_MAX = 100
KNOWN = Template('{"data":[{"figi":"$figi","name":"$name INC","ticker":"$name","exchCode":"US","compositeFIGI":"$figi","shareClassFIGI":null,"securityType":"Common Stock","securityType2":"Common Stock","marketSector":"Equity","securityDescription":"$name"}]}')  # fmt: skip
BY_ISIN: Mapping[tuple[str, str], str] = {
    ("INE002A01018", "XNSE"): "BBG0000SMLT5",
    ("INE002A01018", "XBOM"): "BBG0000SMLT5",
}
"""By ISIN and MIC; made up."""
UNKNOWN = '{"warning":"No identifier found."}'
INVALID = '{"error":"Invalid idType or idValue."}'


class _Job(Struct):
    idType: str = ""
    idValue: str = ""
    exchCode: str = ""
    micCode: str = ""


class OpenFigi(Venue):
    exchange = "openfigi"
    symbols: Mapping[str, Instrument] = {}
    channels: Mapping[str, Channel] = {}
    dialect = Dialect(replies={})
    key_header = KEY_HEADER

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self.limit = Limit(25, 6 * NS_PER_S)

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if path != "/v3/mapping":
            return Response(404, b"")
        if not query[KEY_HEADER]:
            return Response(401, b"Invalid API key.")
        if wait_ns := self.limit.wait_ns(now_ns):
            wait_s = -(-wait_ns // NS_PER_S)
            return Response(429, b"Too many requests.", headers={"ratelimit-reset": str(wait_s)})
        jobs = msgspec.json.decode(query["body"], type=list[_Job])
        if len(jobs) > JOBS_MAX:
            return Response(413, b"Request entity too large.")
        return Response(200, _results(jobs).encode(), is_reference=True)


def _results(jobs: Sequence[_Job]) -> str:
    return f"[{','.join(map(_result, jobs))}]"


def _result(job: _Job) -> str:
    if job.idType not in ("TICKER", "ID_ISIN") or not job.idValue:
        return INVALID
    if job.idType == "ID_ISIN":
        figi = BY_ISIN.get((job.idValue, job.micCode))
    else:
        figi = FIGIS.get(job.idValue) if job.exchCode == "US" else None
    return KNOWN({"figi": figi, "name": job.idValue}) if figi else UNKNOWN
