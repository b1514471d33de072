"""Who may ask the gateway: programs with a token, and pages of our own origin or of those that are named.

The token stands in ``Authorization: Bearer …``, never in an address, which logs keep; a page, whose websocket can send
no header, says it first (``Login``). No cookie is ever taken, so that a foreign page has nothing to ask with; it is
refused all the same, by ``Origin``, ``Sec-Fetch-Site`` and ``Host``, as everywhere on this platform.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from etl.gateway.tokens import Grant, Tokens
from etl.settings import Settings
from etl.telemetry.web_access import refusal

MINUTE_S = 60.0
TOKENS_SEEN_MAX = 10_000
GRANT = web.RequestKey("grant", Grant)
"""Of a request that was let in."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def bearer(headers: Mapping[str, str]) -> str:
    """The token of a request, "" if it has none."""
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def refused(headers: Mapping[str, str], settings: Settings, port: int) -> str:
    """Why a request is refused whatever its token; "" = it is not."""
    gateway = settings.gateway
    host = headers.get("Host", "")
    scheme = "https" if gateway.certificate_file else "http"
    origin = headers.get("Origin")
    if origin is not None and origin not in (f"{scheme}://{host}", *gateway.origins):
        return "no page of that origin may ask here; gateway_origins names those that may"
    if headers.get("Sec-Fetch-Site", "").strip().lower() == "cross-site" and origin not in gateway.origins:
        return "a request from another site is refused"
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.strip("[]").lower() in {known.lower() for known in gateway.hosts}:
        return ""
    return refusal({"Host": host}, settings.bind_host, port)


def cross_origin(headers: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """What a browser wants to read before it shows a page of another origin our answer."""
    origin = headers.get("Origin", "")
    if origin not in settings.gateway.origins:
        return {}
    return {
        "Access-Control-Allow-Origin": origin,
        "Access-Control-Allow-Headers": "authorization",
        "Access-Control-Allow-Methods": "GET",
        "Access-Control-Expose-Headers": "x-next-cursor",
        "Vary": "Origin",
    }


class Rates:
    """How many requests each token made in the last minute."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, grant: Grant, now_s: float) -> float:
        """0 = it may ask, and has; else how long it has to wait."""
        times = self._times.setdefault(grant.id, deque())
        self._times.move_to_end(grant.id)
        while len(self._times) > TOKENS_SEEN_MAX:
            self._times.popitem(last=False)
        while times and times[0] <= now_s - MINUTE_S:
            times.popleft()
        if len(times) >= grant.requests_per_minute:
            return times[0] + MINUTE_S - now_s if times else MINUTE_S
        times.append(now_s)
        return 0.0


def access(
    settings: Settings, tokens: Tokens, open_paths: frozenset[str]
) -> Callable[..., Awaitable[web.StreamResponse]]:
    """The middleware: 403 to foreign pages, 401 without a token, 429 beyond its rate. ``open_paths`` need no token."""
    rates = Rates()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        place = request.transport.get_extra_info("sockname") if request.transport is not None else None
        reason = refused(request.headers, settings, place[1]) if place else "the connection is closed"
        if reason:
            return web.json_response({"code": "refused", "message": reason}, status=403)
        if request.method == "OPTIONS":
            return web.Response(status=204)
        if request.path not in open_paths:
            grant = tokens.grant_of(bearer(request.headers))
            if grant is None:
                answer = {
                    "code": "no_token",
                    "message": "send Authorization: Bearer TOKEN; etl gateway token create",
                }
                return web.json_response(answer, status=401, headers={"WWW-Authenticate": "Bearer"})
            wait_s = rates.wait_s(grant, time.monotonic())
            if wait_s:
                answer = {
                    "code": "too_many_requests",
                    "message": f"{grant.requests_per_minute} requests a minute",
                }
                return web.json_response(answer, status=429, headers={"Retry-After": str(int(wait_s) + 1)})
            request[GRANT] = grant
        return await handler(request)

    return check
