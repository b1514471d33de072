"""The ClickHouse engine (chDB) of this process, run as the HTTP interface asks: settings, sessions, external data.

A chDB session runs one statement at a time and keeps its settings, so each request gets its own (0.2 ms to open);
requests that name a ``session_id`` share one, one at a time.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import msgspec
from chdb import session as chdb_session
from msgspec import Struct

from etl.embedded.clickhouse_allowed import Allowed, Refused
from etl.embedded.clickhouse_statement import Insert, Plain, SeveralStatements, parse
from etl.errors import EtlError
from etl.stores.files import write_whole

SESSIONS_MAX = 256
SESSION_TIMEOUT_S = 60.0
SESSION_TIMEOUT_S_MAX = 3600.0

# What a real server has and chDB's defaults have not: an insert is answered when it is stored. And a schema is the
# request's text, never a file.
SERVER_SETTINGS = {"async_insert": "0", "format_schema_source": "string"}
INSERT_BLOCK_ROWS = "1048449"  # the server's max_insert_block_size

# Formats that are whole at the end of every block: the others need the full result (a footer, a row count).
STREAMED_FORMATS = frozenset(
    {"Native", "RowBinary", "TabSeparated", "TSV", "TabSeparatedRaw", "TSVRaw", "CSV", "JSONEachRow"}
    | {"JSONCompactEachRow", "JSONLines", "NDJSON", "LineAsString"}
)

SYNTAX_ERROR = 62
UNKNOWN_SETTING = 115
BAD_ARGUMENTS = 36
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
TOO_MANY_SIMULTANEOUS_QUERIES = 202
NOT_ENOUGH_SPACE = 243
UNKNOWN_EXCEPTION = 1002

KEEP_FREE_BYTES = 128 << 20
"""With less on its disk the engine begins no insert and no merge."""
USERS = Path(__file__).with_name("clickhouse_users.xml")
"""What the engine itself grants to every statement."""
CONFIGURATION = """<clickhouse>
    <users_config>{users}</users_config>
    <storage_configuration><disks><default>
        <keep_free_space_bytes>{keep_free_bytes}</keep_free_space_bytes>
    </default></disks></storage_configuration>
    <access_control_improvements><table_engines_require_grant>true</table_engines_require_grant></access_control_improvements>
</clickhouse>
"""

_NAME = re.compile(r"[A-Za-z_]\w*")
_ERROR = re.compile(r"Code:\s*(\d+)")


# chDB has no type annotations
Session: Any = chdb_session.Session


class EngineError(EtlError):
    """What ClickHouse would answer: its error code, and its words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class ExternalTable(Struct, frozen=True):
    name: str
    structure: str
    format: str
    data: bytes


class Request(Struct, frozen=True, kw_only=True):
    text: str
    body: bytes = b""
    database: str = ""
    default_format: str = ""
    settings: Mapping[str, str] = {}
    parameters: Mapping[str, str] = {}
    external_tables: Sequence[ExternalTable] = ()
    session_id: str = ""
    session_timeout_s: float = SESSION_TIMEOUT_S
    session_must_exist: bool = False
    read_only: bool = False
    buffered: bool = False


class QueryResult(Struct, frozen=True, kw_only=True):
    """``chunks`` is to be read to its end, or closed."""

    format: str
    summary: Mapping[str, str]
    chunks: Iterator[bytes]


class _Shared(Struct):
    session: Any
    timeout_s: float
    last_used_s: float
    in_use: bool = False


class Engine:
    """One data directory. Methods may be called from several threads."""

    def __init__(self, data_dir: Path) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        configuration = data_dir / "engine.xml"
        text = CONFIGURATION.format(users=escape(str(USERS)), keep_free_bytes=KEEP_FREE_BYTES)
        write_whole(configuration, text.encode())
        self.data_dir = data_dir
        self._place = f"{data_dir}?config-file={configuration}"
        self._lock = threading.Lock()
        self._shared: dict[str, _Shared] = {}
        self._root = Session(self._place)
        _own_default_database(self._root, data_dir)
        self._allowed = Allowed(self._root)
        self.version = bytes(self._root.query("SELECT version()", "TabSeparated").bytes()).decode().strip()

    def close(self) -> None:
        with self._lock:
            for shared in self._shared.values():
                shared.session.close()
            self._shared.clear()
        self._root.close()

    def run(self, request: Request) -> QueryResult:
        """Run one statement. Raises ``EngineError``, here or while the chunks are read."""
        stack = ExitStack()
        try:
            return self._run(request, stack)
        except Refused as refused:
            stack.close()
            raise EngineError(refused.code, str(refused)) from None
        except EngineError:
            stack.close()
            raise
        except (RuntimeError, ValueError) as error:
            # chDB raises RuntimeError and a subclass of it; ValueError is our own statement parser
            stack.close()
            raise _engine_error(error) from None

    def own(self, text: str) -> str:
        """A statement of the server's own, and its answer in ``TabSeparated``. Raises ``EngineError``."""
        session = Session(self._place)
        try:
            return bytes(session.query(text, "TabSeparated").bytes()).decode()
        except RuntimeError as error:
            raise _engine_error(error) from None
        finally:
            session.close()

    def _run(self, request: Request, stack: ExitStack) -> QueryResult:
        statement = parse(request.text, request.body, request.default_format)
        session = stack.enter_context(self._session(request))
        if request.database:
            session.query(f"USE {_quoted_name(request.database)}")
        self._allowed.check_settings(request.settings)
        self._allowed.check(session, statement, request.parameters, request.read_only)
        for table in request.external_tables:
            self._allowed.check_text(session, _temporary_table_statement(table), {})
        stack.enter_context(_settings_applied(session, request))
        for table in request.external_tables:
            stack.enter_context(_temporary_table(session, table))
        if isinstance(statement, Insert):
            return _insert(session, statement, _block_rows(session, request), stack)
        format_name = statement.format or request.default_format or "TabSeparated"
        if _streamable(statement, format_name, request):
            return _stream(session, statement, format_name, request, stack)
        default = request.default_format or "TabSeparated"  # a FORMAT in the text goes before it
        result = session.query(statement.text, default, params=dict(request.parameters) or None)
        answer = QueryResult(
            format=format_name, summary=_read_summary(result), chunks=iter((bytes(result.bytes()),))
        )
        stack.close()
        return answer

    @contextmanager
    def _session(self, request: Request) -> Iterator[Any]:
        if not request.session_id:
            session = Session(self._place)
            try:
                yield session
            finally:
                session.close()
            return
        shared = self._take_shared(request)
        try:
            yield shared.session
        finally:
            with self._lock:
                shared.in_use = False
                shared.last_used_s = time.monotonic()

    def _take_shared(self, request: Request) -> _Shared:
        with self._lock:
            self._drop_expired()
            shared = self._shared.get(request.session_id)
            if shared is None:
                if request.session_must_exist:
                    raise EngineError(SESSION_NOT_FOUND, f"Session {request.session_id} not found")
                if len(self._shared) >= SESSIONS_MAX:
                    raise EngineError(TOO_MANY_SIMULTANEOUS_QUERIES, f"More than {SESSIONS_MAX} sessions")
                shared = _Shared(Session(self._place), SESSION_TIMEOUT_S, 0.0)
                self._shared[request.session_id] = shared
            if shared.in_use:
                raise EngineError(
                    SESSION_IS_LOCKED, f"Session {request.session_id} is locked by a concurrent client"
                )
            shared.in_use = True
            shared.timeout_s = min(request.session_timeout_s, SESSION_TIMEOUT_S_MAX)
            return shared

    def _drop_expired(self) -> None:
        now_s = time.monotonic()
        for name, shared in list(self._shared.items()):
            if not shared.in_use and now_s - shared.last_used_s > shared.timeout_s:
                shared.session.close()
                del self._shared[name]


def _own_default_database(root: Any, data_dir: Path) -> None:
    """The engine's own ``default`` shows every file of the machine as a table: one of tables takes its place."""
    metadata = data_dir / "metadata"
    root.query("DETACH DATABASE default")
    if any((metadata / "default").glob("*.sql")):
        root.query("ATTACH DATABASE default")
        return
    (metadata / "default.sql").unlink(missing_ok=True)  # the engine forgot the UUID of one without tables
    root.query("CREATE DATABASE default ENGINE = Atomic")


def _block_rows(session: Any, request: Request) -> str:
    """``max_insert_block_size`` as it holds for this request; asked only where it must be, it costs 1 ms."""
    name = "max_insert_block_size"
    if name in request.settings:
        return request.settings[name]
    return _current(session, [name])[name] if request.session_id else INSERT_BLOCK_ROWS


def _insert(session: Any, statement: Insert, block_rows: str, stack: ExitStack) -> QueryResult:
    """From a file in memory, not through chDB's streaming insert: that one answers success even when a view, a
    constraint or the disk refused the block and nothing was stored. A file is cut into blocks by ``max_block_size``,
    a request's body by ``max_insert_block_size``: one stands in for the other, so that one batch stays one block."""
    clause = f"{statement.clause.strip()}," if statement.clause else "SETTINGS"
    with _memory_file(statement.data) as path:
        result = session.query(
            f"{statement.head} FROM INFILE '{path}' COMPRESSION 'none' {clause} max_block_size = {_literal(block_rows)}"
            f" FORMAT {statement.format}"
        )
    stack.close()
    summary = _read_summary(result)
    summary |= {"written_rows": summary["read_rows"], "written_bytes": summary["read_bytes"]}
    return QueryResult(format=statement.format, summary=summary, chunks=iter(()))


@contextmanager
def _memory_file(data: bytes) -> Iterator[str]:
    """The path, good in this process, of a file that is in no directory."""
    descriptor = os.memfd_create("insert")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _streamable(statement: Plain, format_name: str, request: Request) -> bool:
    return (
        statement.reads
        and not statement.totals
        and not request.buffered
        and request.settings.get("extremes", "0") == "0"
        and format_name in STREAMED_FORMATS
    )


def _stream(
    session: Any, statement: Plain, format_name: str, request: Request, stack: ExitStack
) -> QueryResult:
    """The first chunk is read here, so that most errors still get their status."""
    default = request.default_format or "TabSeparated"
    stream = session.send_query(statement.text, default, params=dict(request.parameters) or None)
    stack.callback(stream.close)
    first = stream.fetch()
    if first is None:
        stack.close()
        return QueryResult(format=format_name, summary={"read_rows": "0", "read_bytes": "0"}, chunks=iter(()))

    def chunks() -> Iterator[bytes]:
        with stack:
            yield bytes(first.bytes())
            try:
                for chunk in stream:
                    yield bytes(chunk.bytes())
            except RuntimeError as error:
                raise _engine_error(error) from None

    return QueryResult(format=format_name, summary=_read_summary(first), chunks=chunks())


def _read_summary(result: Any) -> dict[str, str]:
    return {
        "read_rows": str(result.rows_read()),
        "read_bytes": str(result.bytes_read()),
        "elapsed_ns": str(int(result.elapsed() * 1e9)),
    }


@contextmanager
def _settings_applied(session: Any, request: Request) -> Iterator[None]:
    """The request's settings; a shared session gets its own back afterwards."""
    settings = {**SERVER_SETTINGS, **request.settings}
    if request.read_only and not request.session_id:  # a session could not be made writable again
        settings["readonly"] = "2"
    previous = _current(session, settings) if request.session_id else {}
    _apply(session, settings)
    try:
        yield
    finally:
        if previous:
            _apply(session, previous)


def _apply(session: Any, settings: Mapping[str, str]) -> None:
    for name in settings:
        if not _NAME.fullmatch(name):
            raise EngineError(UNKNOWN_SETTING, f"Unknown setting '{name}'")
    # readonly last: after it nothing else may change
    ordered = sorted(settings.items(), key=lambda item: item[0] == "readonly")
    session.query("SET " + ", ".join(f"{name}={_literal(value)}" for name, value in ordered))


def _current(session: Any, names: Iterable[str]) -> dict[str, str]:
    known = [name for name in names if _NAME.fullmatch(name)]
    columns = ", ".join(f"toString(getSetting('{name}'))" for name in known)
    row = bytes(session.query(f"SELECT {columns}", "JSONCompactEachRow").bytes())
    return dict(zip(known, msgspec.json.decode(row, type=list[str]), strict=True))


def _temporary_table_statement(table: ExternalTable) -> str:
    return f"CREATE TEMPORARY TABLE {_quoted_name(table.name)} ({table.structure})"


@contextmanager
def _temporary_table(session: Any, table: ExternalTable) -> Iterator[None]:
    name = _quoted_name(table.name)
    session.query(_temporary_table_statement(table))
    try:
        with session.send_insert(f"INSERT INTO {name}", table.format) as stream:
            stream.append(table.data)
            stream.finish()
        yield
    finally:
        session.query(f"DROP TABLE IF EXISTS {name}")


def _engine_error(error: Exception) -> EngineError:
    if isinstance(error, SeveralStatements):
        return EngineError(SYNTAX_ERROR, f"Syntax error: {error}")
    if isinstance(error, ValueError):
        return EngineError(BAD_ARGUMENTS, str(error))
    text = str(error)
    found = _ERROR.search(text)
    if found is None:
        return EngineError(UNKNOWN_EXCEPTION, text)
    return EngineError(int(found.group(1)), text[found.start() :])


def _literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _quoted_name(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
