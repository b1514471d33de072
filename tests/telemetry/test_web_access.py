"""Who may ask the HTTP servers: the rule, and that mailbox, simulator and metrics hold it."""

from __future__ import annotations

import asyncio
import http.client
import threading
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from etl.embedded.mailbox import Mailbox, application
from etl.embedded.ports import free_ports
from etl.settings import make
from etl.simulator.serve import Options, make_feed
from etl.simulator.server import Server
from etl.telemetry.serve import serve
from etl.telemetry.web_access import refusal


@pytest.mark.parametrize(
    ("headers", "bind_host", "answered"),
    [
        ({"Host": "127.0.0.1:80"}, "127.0.0.1", True),
        ({"Host": "127.0.0.1"}, "127.0.0.1", True),
        ({"Host": "localhost:80"}, "127.0.0.1", True),
        ({"Host": "LOCALHOST:80"}, "127.0.0.1", True),
        ({"Host": "[::1]:80"}, "::1", True),
        ({"Host": "localhost:81"}, "127.0.0.1", False),
        ({"Host": "evil.example:80"}, "127.0.0.1", False),
        ({"Host": "machine:80"}, "127.0.0.1", False),
        ({"Host": "127.0.0.1@evil.example:80"}, "127.0.0.1", False),
        ({"Host": "127.0.0.1:x"}, "127.0.0.1", False),
        ({"Host": "127.0.0.1:80/"}, "127.0.0.1", False),
        ({}, "127.0.0.1", False),
        ({"Host": "machine:80"}, "0.0.0.0", True),
        ({"Host": "10.1.2.3:80"}, "0.0.0.0", True),
        ({"Host": "evil.example:80"}, "0.0.0.0", False),
        ({"Host": "desk.example:80"}, "desk.example", True),
        ({"Host": "localhost:80", "Origin": "http://localhost:80"}, "127.0.0.1", False),
        ({"Host": "localhost:80", "Origin": ""}, "127.0.0.1", False),
        ({"Host": "localhost:80", "Sec-Fetch-Site": "Cross-Site"}, "127.0.0.1", False),
        ({"Host": "localhost:80", "Sec-Fetch-Site": "same-origin"}, "127.0.0.1", True),
    ],
)
def test_no_page_of_another_site_may_ask(headers: dict[str, str], bind_host: str, answered: bool) -> None:
    assert (refusal(headers, bind_host, 80) == "") is answered


BAD = ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"})


def statuses(port: int, method: str, path: str) -> list[int]:
    """Of a plain request, then of those from pages."""
    found = []
    for headers in ({}, *BAD):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, headers=headers)
        found.append(connection.getresponse().status)
        connection.close()
    return found


def test_metrics() -> None:
    (port,) = free_ports(1)
    server = serve(CollectorRegistry(), make(), port)
    try:
        assert statuses(port, "GET", "/metrics") == [200, 403, 403, 403]
    finally:
        server.shutdown()
        server.server_close()


def test_the_mailbox(tmp_path: Path) -> None:
    async def ask() -> list[int]:
        runner = web.AppRunner(application(Mailbox(tmp_path), "127.0.0.1"))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return await asyncio.to_thread(statuses, runner.addresses[0][1], "GET", "/messages")
        finally:
            await runner.cleanup()

    assert asyncio.run(ask()) == [200, 403, 403, 403]


def test_the_simulator_s_control_and_venues(tmp_path: Path) -> None:
    async def ask() -> list[list[int]]:
        feeds = {"binance": make_feed(Options(exchanges=("binance",), state_path=tmp_path), "binance")}
        server = Server(feeds)
        await server.start("127.0.0.1", 0)
        try:
            return [
                await asyncio.to_thread(statuses, server.port, method, path)
                for method, path in (
                    ("POST", "/control/stop"),
                    ("GET", "/control/status"),
                    ("GET", "/metrics"),
                )
            ]
        finally:
            await server.stop()

    assert asyncio.run(ask()) == [[200, 403, 403, 403]] * 3


def test_a_metrics_server_ends() -> None:
    (port,) = free_ports(1)
    before = threading.active_count()
    server = serve(CollectorRegistry(), make(), port)
    server.shutdown()
    server.server_close()
    assert threading.active_count() <= before + 1
