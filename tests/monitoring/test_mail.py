"""Mail goes over real SMTP servers: encrypted, logged in, and never to one that cannot prove who it is."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from etl.embedded.ports import free_ports
from etl.errors import UsageError
from etl.monitoring.mail import Mail, MailError, send
from etl.settings import Settings, changed, make

# aiosmtpd knows only STARTTLS as encryption
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

MAIL = Mail("late", "binance is silent", "<p>binance is silent</p>")
LOGIN = (b"desk@example.com", b"s/e:c@ret")
USER = "desk%40example.com:s%2Fe%3Ac%40ret"


def certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Of 127.0.0.1, signed by itself: the file, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


class Server(Controller):
    """Takes mail over TLS alone, from who is logged in as ``LOGIN``; ``taken`` keeps it."""

    def __init__(self, context: ssl.SSLContext, tls_from_start: bool) -> None:
        self.taken: list[tuple[list[str], bytes]] = []
        self._starttls = None if tls_from_start else context
        super().__init__(self, "127.0.0.1", free_ports(1)[0], ssl_context=context if tls_from_start else None)

    def factory(self) -> SMTP:
        return SMTP(
            self,
            tls_context=self._starttls,
            require_starttls=self._starttls is not None,
            authenticator=self._authenticate,
            auth_required=True,
            auth_require_tls=self._starttls is not None,
        )

    def _authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _way: str, data: Any
    ) -> Any:
        return AuthResult(success=(data.login, data.password) == LOGIN, handled=False)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.taken.append((envelope.rcpt_tos, envelope.content))
        return "250 taken"


@pytest.fixture(params=[False, True], ids=["starttls", "tls"])
def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Server]:
    """Trusted by this process, as by OpenSSL's own variable."""
    file, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    running = Server(context, request.param)
    running.start()
    yield running
    running.stop()


def address(server: Server, user: str = USER) -> Settings:
    options = "disable_ssl=true" if server._starttls else ""
    url = f"smtp://{user}@127.0.0.1:{server.port}/?{options}"
    return make(smtp_url=url, mail_to="desk@example.com, pager@example.com")


def test_a_mail_goes_encrypted_and_logged_in(server: Server) -> None:
    send(MAIL, address(server))
    ((to, content),) = server.taken
    assert to == ["desk@example.com", "pager@example.com"]
    assert b"Subject: late" in content
    assert b"<p>binance is silent</p>" in content


def test_a_wrong_password_is_a_mail_that_stays_due(server: Server) -> None:
    with pytest.raises(MailError, match="535"):
        send(MAIL, address(server, "desk%40example.com:wrong"))
    assert server.taken == []


def test_a_server_that_cannot_prove_who_it_is_hears_neither_password_nor_mail(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(MailError, match="certificate verify failed"):
        send(MAIL, address(server))
    assert server.taken == []
    with pytest.raises(UsageError, match=r"^smtp_url: ca_file /nowhere\.pem: "):
        send(MAIL, make(smtp_url=f"smtp://127.0.0.1:{server.port}/?ca_file=/nowhere.pem"))


def test_the_address_may_name_the_authority(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    named = address(server)
    send(MAIL, changed(named, smtp_url=f"{named.mail.url}&ca_file={tmp_path / 'server.pem'}"))
    assert len(server.taken) == 1


def test_a_server_without_starttls_is_refused_where_it_is_asked_for() -> None:
    class Plain(Controller):
        async def handle_DATA(self, *_: object) -> str:
            raise AssertionError("it must not come so far")

    plain = Plain(None, "127.0.0.1", free_ports(1)[0])
    plain.handler = plain
    plain.start()
    try:
        with pytest.raises(MailError, match="STARTTLS"):
            send(MAIL, make(smtp_url=f"smtp://127.0.0.1:{plain.port}/?disable_ssl=true"))
    finally:
        plain.stop()


def test_an_address_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="smtp_url"):
        send(MAIL, make(smtp_url="http://mail.example.com"))
