"""Mail over SMTP: plain text and HTML, STARTTLS or TLS, login where the URL names a user.

``smtp_url`` is Airflow's form: ``smtp://user:password@host:port/?disable_ssl=true&disable_tls=true``. TLS from the
start (``smtps``-like) is the default, ``disable_ssl`` leaves STARTTLS, ``disable_tls`` leaves plain text. The server's
certificate is verified; an authority of one's own is named by ``ca_file=/path``, or by ``SSL_CERT_FILE``.
"""

from __future__ import annotations

import smtplib
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import parse_qs, unquote, urlsplit

from msgspec import Struct

from etl.errors import EtlError, UsageError
from etl.settings import Settings
from etl.stores.tls import verifying_context

CONNECT_TIMEOUT_S = 10.0
SUBJECT_CHARACTERS_MAX = 150
_FORM = "must be smtp://[user:password@]host[:port]/?disable_ssl=…&disable_tls=…"


class MailError(EtlError):
    """The mail server did not take the mail: try again later."""


class Mail(Struct, frozen=True):
    subject: str
    text: str
    html: str = ""


class _Server(Struct, frozen=True):
    host: str
    port: int
    user: str
    password: str
    tls: bool
    starttls: bool
    ca_file: str


def send(mail: Mail, settings: Settings) -> None:
    """Deliver to ``mail_to``. Raises ``MailError`` if the server is down or refuses, ``UsageError`` for the URL."""
    message = EmailMessage()
    message["From"] = settings.mail.sender
    message["To"] = settings.mail.to
    message["Subject"] = " ".join(mail.subject.split())[:SUBJECT_CHARACTERS_MAX]
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = make_msgid(domain="market-data")
    message.set_content(mail.text)
    if mail.html:
        message.add_alternative(mail.html, subtype="html")
    server = _parse(settings.smtp_address)
    try:
        with _connect(server) as connection:
            connection.send_message(message)
    except UnicodeError:  # its text has a part of what it could not encode
        raise UsageError("smtp_url: user and password must be ASCII") from None
    except (OSError, smtplib.SMTPException) as error:
        raise MailError(f"mail server {server.host}:{server.port}: {error}") from None


def _connect(server: _Server) -> smtplib.SMTP:
    context = verifying_context("smtp_url", server.ca_file)  # the library's own would take any certificate
    if server.tls:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(
            server.host, server.port, timeout=CONNECT_TIMEOUT_S, context=context
        )
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=CONNECT_TIMEOUT_S)
    try:
        if server.starttls:
            connection.starttls(context=context)
        if server.user:
            connection.login(server.user, server.password)
    except BaseException:
        connection.close()
        raise
    return connection


def _parse(url: str) -> _Server:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text repeats what it could not read
        raise UsageError(f"smtp_url: {_FORM}") from None
    # an @ behind the host ends a password that had to be percent-encoded: what stands for the host is its start
    is_mistyped = "@" in f"{parts.path}{parts.fragment}{parts.query.partition('=')[0]}"
    if parts.scheme != "smtp" or not parts.hostname or is_mistyped:
        raise UsageError(f"smtp_url: {_FORM}")
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    tls = options.get("disable_ssl", "").lower() != "true"
    return _Server(
        host=parts.hostname,
        port=port or (465 if tls else 25),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls=tls,
        starttls=not tls and options.get("disable_tls", "").lower() != "true",
        ca_file=options.get("ca_file", ""),
    )
