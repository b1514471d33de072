"""A mailbox for one machine: ``python -m etl.embedded.mailbox`` keeps what it gets by SMTP, and shows it by HTTP.

``state_dir/mailbox/<id>.eml`` holds each mail as it came. ``http://…:mailbox_port/`` lists them for people,
``/messages`` for programs (newest first: id, received, from, to, subject), ``/messages/<id>`` gives one.
"""

from __future__ import annotations

import asyncio
import datetime
import email
import email.message
import email.policy
import html
import signal
import sys
import time
from pathlib import Path

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from msgspec import Struct, json

from etl import settings as settings_module
from etl.embedded.part import Part, end_with_parent, http_ready, run_part
from etl.embedded.ports import require_free
from etl.embedded.web_access import web_access
from etl.settings import Settings
from etl.stores.files import write_whole
from etl.telemetry.web_access import require_private

MAIL_BYTES_MAX = 10 << 20
MAILS_MAX = 10_000
STOP_WITHIN_S = 5.0

PAGE = """<!doctype html><meta charset="utf-8"><title>Mailbox</title>
<style>body {{ font: 14px system-ui; margin: 2em }} td, th {{ text-align: left; padding: .2em 1em .2em 0 }}</style>
<h1>Mailbox</h1><p>{count} mails</p>
<table><tr><th>Received</th><th>From</th><th>To</th><th>Subject</th></tr>{rows}</table>
"""
ROW = (
    '<tr><td>{received}</td><td>{sender}</td><td>{to}</td><td><a href="messages/{id}">{subject}</a></td></tr>'
)


class Mail(Struct, frozen=True, rename={"sender": "from"}):
    id: str
    received: str
    sender: str
    to: str
    subject: str


class Mailbox:
    """The mails of one directory. A file's name is the time of its receipt in ns, so names are in order."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory

    def keep(self, content: bytes) -> None:
        """Store one mail, whole or not at all; the oldest ones make room beyond ``MAILS_MAX``."""
        name = time.time_ns()
        while self._path(str(name)).exists():
            name += 1
        write_whole(self._path(str(name)), content, durable=False)
        for old in self._files()[:-MAILS_MAX]:
            old.unlink()

    def mails(self) -> list[Mail]:
        return [_mail(path) for path in reversed(self._files())]

    def content(self, mail_id: str) -> bytes | None:
        if not mail_id.isdigit() or not self._path(mail_id).exists():
            return None
        return self._path(mail_id).read_bytes()

    def _files(self) -> list[Path]:
        return sorted(self._directory.glob("*.eml"), key=lambda path: int(path.stem))

    def _path(self, mail_id: str) -> Path:
        return self._directory / f"{mail_id}.eml"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """aiosmtpd's hook: the answer goes out when the mail is stored."""
        content = envelope.original_content or b""
        await asyncio.get_running_loop().run_in_executor(None, self.keep, content)
        return "250 kept"


def mailbox_part(settings: Settings) -> Part:
    return Part(
        name="mailbox",
        command=(sys.executable, "-m", "etl.embedded.mailbox", "--with-parent"),
        ports={"smtp_port": settings.mail.port, "mailbox_port": settings.mail.mailbox_port},
        ready=http_ready(f"http://{settings.bind_host}:{settings.mail.mailbox_port}/ping"),
        ready_within_s=30.0,
        stop_within_s=STOP_WITHIN_S,
    )


def main() -> None:
    if "--with-parent" in sys.argv:
        end_with_parent()
    settings = settings_module.load()
    require_private("mailbox", settings)
    require_free("mailbox", settings.bind_host, settings.mail.port, "smtp_port")
    require_free("mailbox", settings.bind_host, settings.mail.mailbox_port, "mailbox_port")
    asyncio.run(serve(settings))


async def serve(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    mailbox = Mailbox(settings.state_path / "mailbox")
    smtp = await loop.create_server(
        lambda: SMTP(mailbox, data_size_limit=MAIL_BYTES_MAX, hostname="localhost", enable_SMTPUTF8=True),
        settings.bind_host,
        settings.mail.port,
    )
    pages = web.AppRunner(application(mailbox, settings.bind_host), access_log=None)
    await pages.setup()
    await web.TCPSite(pages, settings.bind_host, settings.mail.mailbox_port).start()
    await stopped.wait()
    smtp.close()
    await pages.cleanup()


def application(mailbox: Mailbox, bind_host: str) -> web.Application:
    async def ping(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def page(_: web.Request) -> web.Response:
        mails = mailbox.mails()
        rows = "".join(
            ROW.format_map({name: html.escape(text) for name, text in _fields(mail)}) for mail in mails
        )
        return web.Response(text=PAGE.format(count=len(mails), rows=rows), content_type="text/html")

    async def listing(_: web.Request) -> web.Response:
        return web.Response(body=json.encode(mailbox.mails()), content_type="application/json")

    async def one(request: web.Request) -> web.Response:
        content = mailbox.content(request.match_info["id"])
        if content is None:
            raise web.HTTPNotFound(text="no such mail\n")
        # as text, whatever it holds: a mail's HTML must not run here
        return web.Response(body=content, content_type="text/plain", charset="utf-8")

    app = web.Application(middlewares=[web_access(bind_host)])
    app.add_routes(
        [
            web.get("/ping", ping),
            web.get("/", page),
            web.get("/messages", listing),
            web.get("/messages/{id}", one),
        ]
    )
    return app


def _fields(mail: Mail) -> list[tuple[str, str]]:
    return [(name, getattr(mail, name)) for name in mail.__struct_fields__]


def _mail(path: Path) -> Mail:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    received = datetime.datetime.fromtimestamp(int(path.stem) / 1e9, datetime.UTC)
    return Mail(
        id=path.stem,
        received=received.isoformat(timespec="milliseconds"),
        sender=_header(message, "from"),
        to=_header(message, "to"),
        subject=_header(message, "subject"),
    )


def _header(message: email.message.EmailMessage, name: str) -> str:
    return str(message.get(name, ""))


if __name__ == "__main__":
    run_part(main)
