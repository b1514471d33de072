"""Redis or Valkey, reached over a socket of our own: a third of the CPU that redis-py takes (docs/decisions).

The address has all that lets us in: ``redis[s]://user:password@host:port/database?prefix=…&ca_file=…``.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
from msgspec import Struct

from etl.errors import TransportError, UsageError

FUNCTIONS_FILE = Path(__file__).with_name("redis_functions.lua")
LIBRARY = "etl_2"
PORT = 6379
CONNECT_TIMEOUT_S = 2.0
REQUEST_TIMEOUT_S = 15.0
RETRY_S = 0.05
READ_BYTES = 1 << 18
EPOCH_ZERO_S = 1_577_836_800
"""2020-01-01: stores keep epochs in 32 bits, as Kafka's are."""
RUN_REMEMBERED_S = 400 * 86_400
"""Longer than a server runs; a run that is forgotten has a later epoch, which is never wrong."""
PARAMETERS = {"prefix", "ca_file", "certificate_file", "key_file"}

Argument = str | bytes | int


class Address(Struct, frozen=True):
    host: str
    port: int = PORT
    user: str = ""
    password: str = ""
    database: int = 0
    tls: bool = False
    prefix: str = ""
    """Of every key, so that several may share a database."""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""

    @property
    def place(self) -> str:
        """Without what must not be shown."""
        return f"Redis at {self.host}:{self.port}"


@lru_cache(maxsize=8)
def parse_address(url: str) -> Address:
    """Raises ``UsageError``, which never repeats what may be a password."""
    try:
        parts = urlsplit(url)
        parameters = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or set(parameters) - PARAMETERS:
            raise ValueError
        return Address(
            host=parts.hostname,
            port=parts.port or PORT,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=int(parts.path.strip("/") or 0),
            tls=parts.scheme == "rediss",
            **parameters,
        )
    except ValueError:
        raise UsageError(
            "settings: an address of Redis must be redis[s]://[user:password@]host[:port][/database], and may have"
            f" {', '.join(sorted(PARAMETERS))}"
        ) from None


class Refused(TransportError):
    """The server answered with an error; ``code`` is its first word."""

    def __init__(self, place: str, text: str) -> None:
        super().__init__(f"{place}: {text}")
        self.code = text.partition(" ")[0]


class Connection:
    """One socket, made when it is first needed and again after it broke. Not for several threads."""

    def __init__(self, address: Address, begins_within_s: float = 0.0) -> None:
        """``begins_within_s``: so long a server is waited for that refuses us, hangs up as it goes down, or still
        loads."""
        self._socket: socket.socket | None = None
        self._epoch = -1
        self._begins_by_s = time.monotonic() + begins_within_s
        self.address = address
        self._reader = hiredis.Reader()

    def call(self, *arguments: Argument, timeout_s: float = REQUEST_TIMEOUT_S) -> Any:
        """One command. Raises ``Refused`` for an error of the server's, ``TransportError`` for any other."""
        (answer,) = self.calls([arguments], timeout_s)
        if isinstance(answer, hiredis.ReplyError):
            raise Refused(self.address.place, str(answer))
        return answer

    def calls(
        self, commands: Sequence[Sequence[Argument]], timeout_s: float = REQUEST_TIMEOUT_S
    ) -> list[Any]:
        """Several in one go; an error of the server's stands in the place of its answer."""
        while True:
            opened = self.opened()
            try:
                opened.settimeout(timeout_s)
                opened.sendall(b"".join(map(pack, commands)))
                return [self._answer(opened) for _ in commands]
            except (OSError, hiredis.HiredisError) as error:
                self.close()
                has_begun = time.monotonic() > self._begins_by_s
                if has_begun or not isinstance(error, ConnectionError):
                    raise self.failed(error) from None
            time.sleep(RETRY_S)

    def opened(self) -> socket.socket:
        """Raises ``TransportError``."""
        if self._socket is not None:
            return self._socket
        address = self.address
        try:
            made = self._connected()
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = _over_tls(made, address) if address.tls else made
        except OSError as error:
            raise self.failed(error) from None
        self._reader = hiredis.Reader()
        self._epoch = -1
        greeting: list[Sequence[Argument]] = []
        if address.password:
            greeting.append(("AUTH", *((address.user,) if address.user else ()), address.password))
        if address.database:
            greeting.append(("SELECT", address.database))
        for answer in self.calls(greeting):
            if isinstance(answer, hiredis.ReplyError):
                self.close()
                raise Refused(address.place, str(answer))
        while time.monotonic() < self._begins_by_s and self._is_loading():
            time.sleep(RETRY_S)
        return self._socket

    def epoch(self, key_of: Callable[[str], str]) -> int:
        """When the run of the server that we are connected to was first seen, s since 2020; ``key_of`` a run says where
        that is kept. Raises ``TransportError``."""
        if self._epoch < 0:
            run = str(self.call("INFO", "server").decode().partition("run_id:")[2].split()[0])
            now_s = int(self.call("TIME")[0]) - EPOCH_ZERO_S
            before = self.call("SET", key_of(run), now_s, "NX", "GET", "EX", RUN_REMEMBERED_S)
            self._epoch = now_s if before is None else int(before)
        return self._epoch

    def _is_loading(self) -> bool:
        """Whether the server still reads what it keeps, and answers nothing else."""
        (answer,) = self.calls([("PING",)])
        return isinstance(answer, hiredis.ReplyError) and str(answer).startswith("LOADING")

    def _connected(self) -> socket.socket:
        address = self.address
        while True:
            try:
                return socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S)
            except ConnectionRefusedError:
                if time.monotonic() > self._begins_by_s:
                    raise
            time.sleep(RETRY_S)

    def _answer(self, opened: socket.socket) -> Any:
        while (answer := self._reader.gets()) is False:
            data = opened.recv(READ_BYTES)
            if not data:
                raise ConnectionResetError("it hangs up")
            self._reader.feed(data)
        return answer

    def feed(self, data: bytes) -> list[Any]:
        """The answers that ``data``, read by the caller, completes. Raises ``hiredis.HiredisError``."""
        self._reader.feed(data)
        answers = []
        while (answer := self._reader.gets()) is not False:
            answers.append(answer)
        return answers

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __del__(self) -> None:
        self.close()  # publishers are let go of, as Kafka's, whose client closes itself

    def failed(self, error: object) -> TransportError:
        return TransportError(f"{self.address.place}: {str(error) or 'no answer'}")


def pack(command: Sequence[Argument]) -> bytes:
    """As it goes over the wire."""
    return bytes(hiredis.pack_command(cast(Any, tuple(command))))


def load_functions(connection: Connection) -> None:
    """Those that are called here; their names have their version. Raises ``TransportError``."""
    if not connection.call("FUNCTION", "LIST", "LIBRARYNAME", LIBRARY):
        connection.call("FUNCTION", "LOAD", "REPLACE", FUNCTIONS_FILE.read_text())


def _over_tls(made: socket.socket, address: Address) -> socket.socket:
    context = ssl.create_default_context(cafile=address.ca_file or None)
    if address.certificate_file:
        context.load_cert_chain(address.certificate_file, address.key_file or None)
    return context.wrap_socket(made, server_hostname=address.host)
