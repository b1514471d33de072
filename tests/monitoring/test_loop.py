"""Incidents become mails, once each, over a real mail server; one that is down is tried again."""

from __future__ import annotations

import email
import email.policy
import os
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from msgspec import structs

from etl.embedded.mailbox import Mailbox
from etl.embedded.ports import free_ports
from etl.monitoring import incidents
from etl.monitoring.loop import run_round
from etl.monitoring.rules import Observed
from etl.settings import Settings, changed

NOW_NS = 1_768_406_400_000_000_000
S = 1_000_000_000


class Post:
    """A real SMTP server whose mails a test reads; down until ``start``."""

    def __init__(self, directory: Path) -> None:
        (self.port,) = free_ports(1)
        self._mailbox = Mailbox(directory)
        self._server = Controller(self._mailbox, "127.0.0.1", self.port)

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def mails(self) -> list[EmailMessage]:
        """The oldest first."""
        found = []
        for one in reversed(self._mailbox.mails()):
            content = self._mailbox.content(one.id) or b""
            found.append(email.message_from_bytes(content, policy=email.policy.default))
        return found

    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.mails()]


@pytest.fixture
def post(tmp_path: Path) -> Any:
    made = Post(tmp_path / "mailbox")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def watched(settings: Settings, post: Post) -> Settings:
    return changed(
        settings, smtp_port=post.port, mail_to="desk@example.com", mail_to_critical="pager@example.com"
    )


def flowing(at_ns: int, is_up: bool = True) -> Observed:
    received = {"trade": at_ns / 1e9, "bookTicker": at_ns / 1e9 - 1}
    return Observed(last_receive_s={"binance": received}, connections_up={"binance": is_up})


def test_silence_gives_one_mail_reminders_and_one_mail_at_its_end(watched: Settings, post: Post) -> None:
    assert run_round(watched, NOW_NS, flowing(NOW_NS)).open == []
    for minute in range(1, 62):
        run_round(watched, NOW_NS + minute * 60 * S, flowing(NOW_NS, is_up=False))
    back = NOW_NS + 62 * 60 * S
    for minute in range(3):
        run_round(watched, back + minute * 60 * S, flowing(back + minute * 60 * S))
    assert post.subjects() == [
        "[critical] binance: no data for 60 s",
        "[critical, still] binance: no data for 3660 s",
        "[recovered] binance: no data for 3660 s",
    ]


def test_the_mail_says_what_since_when_how_far_where_why_and_what_to_do(
    watched: Settings, post: Post
) -> None:
    run_round(watched, NOW_NS, flowing(NOW_NS))
    run_round(watched, NOW_NS + 75 * S, flowing(NOW_NS, is_up=False))
    (mail,) = post.mails()
    assert mail["To"] == "pager@example.com"
    plain = mail.get_body(("plain",))
    page = mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    text = plain.get_content()
    for line in (
        "Since: 2026-01-14 16:00:00 UTC",
        "How far: 75 s since the last event of any channel; 30 s are normal",
        "Venue: binance",
        "Channels: bookTicker, trade",
        "Symbols: BTCUSDT, ETHUSDT, SOLUSDT",
        "Likely cause: the worker is not connected and goes on trying",
        "What to do: Look at the venue's status page",
        f"Details: http://127.0.0.1:{watched.airflow.port}/plugin/pipeline_monitor",
    ):
        assert line in text
    assert "<td>BTCUSDT, ETHUSDT, SOLUSDT</td>" in page.get_content()


def test_a_mail_server_that_is_down_costs_nothing_but_time(settings: Settings, tmp_path: Path) -> None:
    post = Post(tmp_path / "mailbox")
    watched = changed(settings, smtp_port=post.port)
    run_round(watched, NOW_NS, flowing(NOW_NS))
    assert run_round(watched, NOW_NS + 60 * S, flowing(NOW_NS)).mails_due == 1
    assert run_round(watched, NOW_NS + 120 * S, flowing(NOW_NS)).mails_due == 1
    post.start()
    try:
        assert run_round(watched, NOW_NS + 180 * S, flowing(NOW_NS)).mails_due == 0
        assert post.subjects() == ["[critical] binance: no data for 180 s"]
    finally:
        post.stop()


def test_what_was_over_before_anybody_was_told_is_told_to_nobody(settings: Settings, tmp_path: Path) -> None:
    watched = changed(settings, smtp_port=free_ports(1)[0])
    run_round(watched, NOW_NS, flowing(NOW_NS))
    run_round(watched, NOW_NS + 60 * S, flowing(NOW_NS))
    assert run_round(watched, NOW_NS + 120 * S, flowing(NOW_NS + 120 * S)).mails_due == 0
    (incident,) = incidents.recent(watched.state_path, 10)
    assert incident.recovered_ns == NOW_NS + 120 * S


def test_a_full_disk_is_one_mail_and_its_end_another(
    watched: Settings, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_round(watched, NOW_NS, flowing(NOW_NS))
    fsync, state = os.fsync, str(watched.state_path)

    def full(descriptor: int) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith(state):
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        for minute in range(1, 6):
            now_ns = NOW_NS + minute * 60 * S
            run_round(watched, now_ns, structs.replace(flowing(now_ns), disk_free=(0, 1 << 40)))
    aside = incidents._memory_path(watched.state_path / "monitoring" / "incidents.json")
    assert [one.finding.key for one in incidents.recent(watched.state_path, 9)] == ["disk"]
    assert aside.parent.stat().st_mode & 0o777 == 0o700
    run_round(watched, NOW_NS + 6 * 60 * S, flowing(NOW_NS + 6 * 60 * S))
    assert post.subjects() == [
        "[critical] the disk is full: 0 MiB free",
        "[recovered] the disk is full: 0 MiB free",
    ]
    assert not aside.exists()
    assert len(incidents.read(watched.state_path).incidents) == 1
