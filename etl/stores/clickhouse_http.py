"""ClickHouse over HTTP: one persistent connection, statements and ready-made inserts, errors sorted by what to do.

    http[s]://user:password@host:port/database?verify=false&ca_file=/path

Standard library only: an insert is one POST of bytes that are ready, and http.client costs 0.15 ms for it.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from msgspec import Struct, structs

from etl.errors import StoreError, StoreRejected, StoreUnavailable, UsageError
from etl.settings import Settings
from etl.stores.tls import verifying_context

LOWEST_VERSION = (25, 8)
"""format_schema_source='string' is in 25.6 and later; 25.8 is the first long-term release with it."""

TIMEOUT_S = 300.0
"""An answer that takes longer counts as lost; an insert is then sent again with its token."""
CONNECT_TIMEOUT_S = 5.0
ERROR_CHARACTERS_MAX = 500

_WHILE_PARSING = "While executing ProtobufRowInputFormat"
_CACHED_SCHEMA = "'__cache__/"
"""How the server names its copy of a schema that came with an insert."""
_CODE = re.compile(r"Code: (\d+)")
_DATABASE = re.compile(r"\w+")
_INTERNAL = re.compile(r"\bmarket_internal\b")

# ClickHouse's error codes for a server that cannot do it now: timeouts, sockets, network, too many queries or parts,
# memory, disk, read-only tables, replicas, keeper, shutting down
_UNAVAILABLE = frozenset(
    (74, 75, 76, 159, 202, 209, 210, 225, 236, 241, 242, 243, 252, 285, 286, 319, 394, 425, 439, 999)
)
# and for data that it will never take: parsing, bounds, types, decimals, array sizes, constraints, enum values
_REJECTED = frozenset(
    {6, 26, 27, 32, 33, 38, 41, 53, 69, 70, 72, 117, 130, 131}
    | {190, 321, 349, 395, 407, 436, 443, 444, 469, 691}
)


class SchemaUnreadable(StoreError):
    """The server's copy of an insert's schema is cut off, for it was killed as it wrote it, or its disk was full. It
    reads that copy, by the schema's hash, as long as it lies there: only another text is read anew."""


class Address(Struct, frozen=True):
    """Where the server is, and who asks. ``password`` is never shown."""

    secure: bool
    host: str
    port: int
    user: str
    password: str
    database: str
    verify: bool = True
    ca_file: str = ""

    def __repr__(self) -> str:
        return self.text

    @property
    def internal(self) -> str:
        """The database of what lies between the sinks and the users' views: landing tables, stored tables."""
        return f"{self.database}_internal"

    @property
    def text(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.host}:{self.port}/{self.database}"


def parse_address(url: str) -> Address:
    """Raises ``UsageError``, whose text repeats no password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text repeats what it could not read
        raise UsageError("clickhouse_url: must be http[s]://[user:password@]host[:port]/database") from None
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    database = parts.path.strip("/") or "default"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError("clickhouse_url: must be http[s]://[user:password@]host[:port]/database")
    if not _DATABASE.fullmatch(database):
        raise UsageError("clickhouse_url: the path is no database name")
    unknown = set(options) - {"verify", "ca_file"}
    if unknown:
        raise UsageError("clickhouse_url: unknown option; there are verify and ca_file")
    login = unquote(parts.username or "") + unquote(parts.password or "")
    if not login.isprintable() or not login.isascii():  # http.client's error would repeat it
        raise UsageError("clickhouse_url: user and password must be printable ASCII")
    secure = parts.scheme == "https"
    return Address(
        secure=secure,
        host=parts.hostname,
        port=port or (8443 if secure else 8123),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=database,
        verify=options.get("verify", "true") != "false",
        ca_file=options.get("ca_file", ""),
    )


def connect(
    settings: Settings,
    timeout_s: float = TIMEOUT_S,
    sent: Callable[[], None] | None = None,
    *,
    internal: bool = False,
) -> ClickHouse:
    """The ClickHouse of these settings: ``with connect(settings) as client``. It is asked for nothing yet.

    ``internal``: plain names are those of the internal database.
    """
    address = parse_address(settings.clickhouse_address)
    if internal:
        address = structs.replace(address, database=address.internal)
    return ClickHouse(address, timeout_s, sent)


def internal_database(settings: Settings) -> str:
    """Its name."""
    return parse_address(settings.clickhouse_address).internal


def in_database(sql: str, address: Address) -> str:
    """``sql``, a file that says ``market_internal``, as it reads in the database of this name."""
    return _INTERNAL.sub(address.internal, sql)


class ClickHouse:
    """One connection, made with the first statement; one thread at a time. What fails is ``StoreUnavailable`` (down, or
    the answer was lost: send the same again), ``StoreRejected`` (the data itself) or ``StoreError`` (the statement, a
    table, a right)."""

    def __init__(
        self, address: Address, timeout_s: float = TIMEOUT_S, sent: Callable[[], None] | None = None
    ) -> None:
        """``sent`` is called between an insert's last byte and its answer; for tests."""
        self.address = address
        self._timeout_s = timeout_s
        self._sent = sent
        self._headers = {"X-ClickHouse-Database": address.database, "Connection": "keep-alive"}
        if address.user:
            self._headers |= {"X-ClickHouse-User": address.user, "X-ClickHouse-Key": address.password}
        self._connection: http.client.HTTPConnection | None = None
        self._is_hung_up = False

    def __enter__(self) -> ClickHouse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def hang_up(self) -> None:
        """From another thread, for good: what waits for an answer ends at once, as ``StoreUnavailable``."""
        self._is_hung_up = True
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):
                # of the socket below TLS, which another thread may be reading
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def execute(
        self, sql: str, settings: Mapping[str, str] | None = None, parameters: Mapping[str, str] | None = None
    ) -> bytes:
        """Run one statement; the answer as the server wrote it. ``{name:Type}`` in ``sql`` takes ``parameters``."""
        query = {**(settings or {}), **{f"param_{k}": v for k, v in (parameters or {}).items()}}
        return self._post("/?" + urlencode({"wait_end_of_query": "1", **query}), sql.encode())

    def insert(self, path: str, body: bytes) -> None:
        """POST ``body`` to ``path``, made once by ``insert_path``."""
        self._post(path, body)

    def create_database(self) -> None:
        headers = self._headers
        self._headers = {**headers, "X-ClickHouse-Database": "default"}
        try:
            self.execute(f"CREATE DATABASE IF NOT EXISTS {self.address.database}")
        finally:
            self._headers = headers

    def check_version(self) -> str:
        """The server's version. Raises ``StoreError`` if it is older than ``LOWEST_VERSION``."""
        version = self.execute("SELECT version()").decode().strip()
        number = tuple(int(part) for part in version.split(".")[:2])
        if number < LOWEST_VERSION:
            lowest = ".".join(map(str, LOWEST_VERSION))
            raise StoreError(f"ClickHouse {version} at {self.address.text}: {lowest} or later is needed")
        return version

    def _post(self, path: str, body: bytes) -> bytes:
        reused = self._connection is not None
        try:
            return self._exchange(path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            # a server closes a connection that was idle: the next statement on it fails through no fault of either
            if not (reused and isinstance(error, http.client.RemoteDisconnected | ConnectionError)):
                raise self._unavailable(error) from None
        try:
            return self._exchange(path, body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unavailable(error) from None

    def _exchange(self, path: str, body: bytes) -> bytes:
        if self._connection is None:
            self._connection = self._connect()
        if self._is_hung_up:
            raise ConnectionAbortedError("hung up")
        self._connection.request("POST", path, body, self._headers)
        if self._sent is not None:
            self._sent()
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise self._error(response.status, response.getheader("X-ClickHouse-Exception-Code"), answer)
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        address = self.address
        if not address.secure:
            connection = http.client.HTTPConnection(address.host, address.port, timeout=CONNECT_TIMEOUT_S)
        else:
            context = verifying_context("clickhouse_url", address.ca_file)
            if not address.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection(
                address.host, address.port, timeout=CONNECT_TIMEOUT_S, context=context
            )
        try:
            connection.connect()
        except OSError:  # its socket stays open where TLS fails
            connection.close()
            raise
        connection.sock.settimeout(self._timeout_s)
        return connection

    def _error(self, status: int, code_header: str | None, answer: bytes) -> StoreError:
        text = answer[: 4 * ERROR_CHARACTERS_MAX].decode("utf-8", "replace").strip()
        found = _CODE.search(text)
        code = int(code_header or (found.group(1) if found else 0))
        line = f"ClickHouse at {self.address.text}: {' '.join(text.split())[:ERROR_CHARACTERS_MAX]}"
        if _CACHED_SCHEMA in text:
            return SchemaUnreadable(line)
        if code in _REJECTED or _WHILE_PARSING in text:
            return StoreRejected(line)
        if code in _UNAVAILABLE or (not code and status in (429, 502, 503, 504)):
            return StoreUnavailable(line)
        return StoreError(line)

    def _unavailable(self, error: Exception) -> StoreUnavailable:
        return StoreUnavailable(f"ClickHouse at {self.address.text}: {error or type(error).__name__}")


def insert_path(statement: str, settings: Mapping[str, str]) -> str:
    """The target of an insert: ``statement`` ends with its FORMAT, the rows are the request's body."""
    return "/?" + urlencode({"query": statement, "wait_end_of_query": "1", **settings}, quote_via=quote)
