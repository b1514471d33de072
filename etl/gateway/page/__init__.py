"""The live page, as files: what a browser is given, and what it may do with it."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

FOLDER = Path(__file__).parent
FILES = {
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "beside.js": "text/javascript",
    "lightweight-charts.js": "text/javascript",
    "lightweight-charts.LICENSE.txt": "text/plain",
}
HEADERS = {
    # the chart library writes a style of its own into the page
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
    " connect-src 'self'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


async def index(_: web.Request) -> web.Response:
    return _file("index.html")


async def file(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    if name not in FILES:
        raise web.HTTPNotFound
    return _file(name)


def _file(name: str) -> web.Response:
    """They are few, and small enough to be read each time."""
    return web.Response(
        body=(FOLDER / name).read_bytes(), content_type=FILES[name], charset="utf-8", headers=HEADERS
    )
