"""Who may ask the servers of this platform: programs and people of this machine, but no page of another site.

A browser sends any page's requests to loopback. It names the page in ``Origin`` or its relation in
``Sec-Fetch-Site``, and the name it looked up in ``Host``: after DNS rebinding that is the attacker's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from etl.errors import UsageError
from etl.settings import Settings

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


def refusal(headers: Mapping[str, str], bind_host: str, port: int) -> str:
    """Why a request with these headers is refused by what listens on ``bind_host``:``port``; "" = it is not.
    ``headers`` finds names in any case."""
    if headers.get("Origin") is not None:
        return "a request with Origin is refused: no web page may ask here"
    if headers.get("Sec-Fetch-Site", "none").strip().lower() == "cross-site":
        return "a request from another site is refused"
    host, host_port = _host(headers.get("Host", ""))
    if host_port != port or not _is_ours(host, bind_host):
        return "Host is not the name of this server"
    return ""


def _host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.netloc != text or "@" in text or parts.path or not parts.hostname:
            return "", 0
        return parts.hostname, parts.port or 80
    except ValueError:
        return "", 0


def _is_ours(host: str, bind_host: str) -> bool:
    if host in LOOPBACK_NAMES or host == bind_host.lower():
        return True
    # on a network a machine has addresses and short names of its own; a name that an attacker could point here
    # has a dot
    return not is_loopback(bind_host) and (_is_address(host) or "." not in host)


def require_private(part: str, settings: Settings) -> None:
    """``UsageError`` if ``part``, which has no password, would listen where others than this machine can ask."""
    if not (is_loopback(settings.bind_host) or settings.open_to_network):
        raise UsageError(
            f"{part}: ETL_BIND_HOST={settings.bind_host} would open it to the network without a password; "
            "leave it on loopback, or set ETL_OPEN_TO_NETWORK=true"
        )


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
