"""How a venue is reached, live or simulated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from etl.adapter.contract import Credentials, Request
from etl.errors import UsageError
from etl.exchanges.binance import Binance
from etl.exchanges.binance_usdm import BinanceUsdm
from etl.exchanges.polygon import Polygon
from etl.model.records import Kind
from etl.settings import make
from etl.sources.access import SIMULATION_CREDENTIALS, VenueAccess, credentials
from etl.sources.limiter import limit_path
from tests.support.invented import Invented


class Keyless(Invented):
    key_variables = ()  # type: ignore[assignment]  # the base has one, of which mypy infers the length


def test_a_missing_key_is_one_line_that_names_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for group in Polygon.key_variables:
        for name in group:
            monkeypatch.delenv(name, raising=False)
    with pytest.raises(UsageError, match="POLYGON_API_KEY or MASSIVE_API_KEY"):
        credentials(Polygon, live=True)
    monkeypatch.setenv("MASSIVE_API_KEY", "k")
    assert credentials(Polygon, live=True) == Credentials("k")


def test_a_key_that_only_some_history_takes_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BINANCE_API_KEY", raising=False)
    assert credentials(BinanceUsdm, live=True) == Credentials()
    monkeypatch.setenv("BINANCE_API_KEY", "k")
    assert credentials(BinanceUsdm, live=True) == Credentials("k")
    request = Request("/fapi/v1/historicalTrades", Kind.TRADE, "BTCUSDT")
    assert BinanceUsdm(Credentials("k")).headers(request, 1) == {"X-MBX-APIKEY": "k"}


def test_a_key_without_which_the_venue_gives_less_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    class Better(Keyless):
        key_variables = (("BETTER_KEY",),)  # type: ignore[assignment]
        key_is_optional = True

    assert credentials(Better, live=True) == Credentials()
    monkeypatch.setenv("BETTER_KEY", "k")
    assert credentials(Better, live=True) == Credentials("k")


def test_a_variable_that_ends_in_path_names_the_file_of_the_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Signed(Keyless):
        key_variables = (("SIGNED_KEY",), ("SIGNED_SECRET_PATH",))  # type: ignore[assignment]

    monkeypatch.setenv("SIGNED_KEY", "k")
    monkeypatch.setenv("SIGNED_SECRET_PATH", str(tmp_path / "secret.pem"))
    with pytest.raises(UsageError, match=r"^SIGNED_SECRET_PATH: No such file or directory$"):
        credentials(Signed, live=True)
    (tmp_path / "secret.pem").write_text("-----BEGIN\nhidden\n")
    assert credentials(Signed, live=True) == Credentials("k", "-----BEGIN\nhidden")
    (tmp_path / "secret.pem").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"^SIGNED_SECRET_PATH: not a text$"):
        credentials(Signed, live=True)


def test_a_simulator_gets_a_key_that_is_no_secret_and_a_venue_without_keys_gets_none() -> None:
    assert credentials(Polygon, live=False) == SIMULATION_CREDENTIALS
    assert credentials(Binance, live=True) == Credentials()


def test_a_venue_that_is_not_simulated_says_so() -> None:
    with pytest.raises(UsageError, match="not simulated: add it to ETL_VENUES"):
        VenueAccess.from_settings(make(venues="polygon"), Binance)


def test_keys_are_never_printed() -> None:
    assert "k" not in repr(Credentials("k", "s")).replace("Credentials", "")


def test_a_simulated_venue_is_reached_at_its_port_and_a_live_one_at_its_own_addresses(tmp_path: Path) -> None:
    simulated = VenueAccess.from_settings(
        make(state_dir=str(tmp_path), venues="polygon,binance", simulator_port=7000), Binance
    )
    place = "127.0.0.1:7001/binance"
    assert (simulated.websocket_urls(), simulated.rest_url) == ((f"ws://{place}",), f"http://{place}")
    assert simulated.archive_url == f"http://{place}"

    live = VenueAccess.from_settings(make(state_dir=str(tmp_path), venues="polygon", live=True), Binance)
    assert live.websocket_urls() == (Binance.websocket_url, *Binance.websocket_url_others)
    assert (live.rest_url, live.archive_url) == (Binance.rest_url, Binance.archive_url)

    mirrored = make(state_dir=str(tmp_path), live=True, archive_url="http://mirror")
    assert VenueAccess.from_settings(mirrored, Binance).archive_url == "http://mirror"


def test_all_who_reach_a_venue_with_one_key_share_its_budget(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path), live=True)
    one, other = (VenueAccess.from_settings(settings, Binance) for _ in range(2))
    one.limiter.refused(429, 30.0)
    assert other.limiter.take(1) > 29e9
    assert limit_path(tmp_path, "binance", Binance.rest_url, "").exists()


def test_the_session_is_there_within_the_block_only(tmp_path: Path) -> None:
    async def sessions() -> bool:
        access = VenueAccess.from_settings(make(state_dir=str(tmp_path), venues="binance"), Binance)
        async with access:
            session = access.session
            assert not session.closed
        with pytest.raises(AssertionError):
            _ = access.session
        return session.closed

    assert asyncio.run(sessions())


def test_a_socket_is_reached_at_its_own_address_where_the_venue_has_one(tmp_path: Path) -> None:
    live = VenueAccess.from_settings(make(state_dir=str(tmp_path), live=True), Keyless)
    assert live.websocket_urls("business") == ("wss://business.invented.example",)
    assert live.websocket_urls("public") == live.websocket_urls() == ("wss://public.invented.example",)
    simulated = VenueAccess.from_settings(make(state_dir=str(tmp_path), venues="invented"), Invented)
    assert simulated.websocket_urls("business") == simulated.websocket_urls()
