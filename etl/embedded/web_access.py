"""``etl.telemetry.web_access`` for aiohttp's applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from etl.telemetry.web_access import refusal


def web_access(bind_host: str) -> Callable[..., Awaitable[web.StreamResponse]]:
    """A middleware that answers 403 to what no program of ours asks."""

    @web.middleware
    async def refuse(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        place = request.transport.get_extra_info("sockname") if request.transport is not None else None
        refused = refusal(request.headers, bind_host, place[1]) if place else "the connection is closed"
        if refused:
            return web.Response(status=403, text=f"{refused}\n")
        return await handler(request)

    return refuse
