from __future__ import annotations

import json
import smtplib
import urllib.error
import urllib.request
from collections.abc import Callable
from email.message import EmailMessage

import pytest

from etl.embedded.mailbox import mailbox_part
from tests.support.servers import RunningPart

pytestmark = pytest.mark.integration


def send(mailbox: RunningPart, subject: str, body: str) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "etl@localhost", "operator@localhost", subject
    mail.set_content(body)
    with smtplib.SMTP(mailbox.settings.bind_host, mailbox.settings.mail.port, timeout=10) as smtp:
        smtp.send_message(mail)


def get(mailbox: RunningPart, path: str) -> str:
    url = f"http://{mailbox.settings.bind_host}:{mailbox.settings.mail.mailbox_port}{path}"
    return urllib.request.urlopen(url, timeout=10).read().decode()


def test_mails_are_kept_listed_and_survive_kill_9(crashable: Callable[..., RunningPart]) -> None:
    mailbox = crashable(mailbox_part)
    send(mailbox, "SLA missed: binance", "late by 3 s")
    send(mailbox, "<script>alert(1)</script>", "Größe")
    mailbox.restart()
    listed = json.loads(get(mailbox, "/messages"))
    assert [(mail["from"], mail["to"], mail["subject"]) for mail in listed] == [
        ("etl@localhost", "operator@localhost", "<script>alert(1)</script>"),
        ("etl@localhost", "operator@localhost", "SLA missed: binance"),
    ]
    assert "late by 3 s" in get(mailbox, f"/messages/{listed[1]['id']}")
    page = get(mailbox, "/")
    assert "SLA missed: binance" in page
    assert "<script>" not in page
    kept = sorted((mailbox.settings.state_path / "mailbox").iterdir())
    assert [path.name for path in kept] == [f"{mail['id']}.eml" for mail in reversed(listed)]
    assert mailbox.stop() == 0


def test_a_mail_that_is_not_there_is_404_whatever_its_name(crashable: Callable[..., RunningPart]) -> None:
    mailbox = crashable(mailbox_part)
    for name in ("1", "..%2F..%2Fetc%2Fpasswd"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(mailbox, f"/messages/{name}")
