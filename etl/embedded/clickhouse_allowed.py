"""Which statements the embedded ClickHouse runs: an allow list, so that none reaches files, network or processes.

Three walls. The engine's own grants (``clickhouse_users.xml``): no source, no foreign table engine, no dictionary,
no backup, of SYSTEM only the merges. The engine's own parse (EXPLAIN AST): kinds of statements, table functions,
ordinary functions. The words of the text, for what neither shows: expressions among VALUES, settings, APPLY.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from etl.embedded.clickhouse_settings import ALLOWED, CLAUSES, SCHEMA_SOURCE, WORDS
from etl.embedded.clickhouse_statement import Insert, Plain, tokens
from etl.errors import EtlError

READING = frozenset(
    {"SelectWithUnionQuery", "SelectIntersectExceptQuery", "SelectQuery", "Explain", "DescribeQuery"}
    | {"ShowTables", "ShowColumns", "ShowIndexes", "ShowFunctions", "ShowProcesslistQuery", "ShowEngineQuery"}
    | {"ShowCreateTableQuery", "ShowCreateViewQuery", "ShowCreateDatabaseQuery", "ShowGrantsQuery"}
    | {"ExistsTableQuery", "ExistsViewQuery", "ExistsDatabaseQuery", "CheckQuery"}
)
CHANGING = frozenset(
    {"InsertQuery", "CreateQuery", "DropQuery", "TruncateQuery", "DetachQuery", "AlterQuery", "Rename"}
    | {"OptimizeQuery", "DeleteQuery", "UpdateQuery", "Set", "UseQuery", "SYSTEM"}
)
TABLE_FUNCTIONS = frozenset(
    {
        "numbers",
        "numbers_mt",
        "zeros",
        "zeros_mt",
        "generate_series",
        "generateseries",
        "primes",
        "view",
        "merge",
        "values",
    }
)
KEYWORDS = frozenset({"values", "null"})
"""Names of table functions that stand before brackets as words of the language too."""
DATABASE_ENGINES = frozenset({"atomic", "memory"})
FUNCTION_CATEGORIES = frozenset(
    {"Aggregate Functions", "Arithmetic", "Arrays", "Bit", "Bitmap", "Comparison", "Conditional", "Logical"}
    | {
        "Dates and Times",
        "Dictionary",
        "Distance",
        "Encoding",
        "Encryption",
        "Financial",
        "Geo",
        "Geo Polygon",
    }
    | {"Hash", "IP Address", "JSON", "Map", "Mathematical", "Null", "NumericIndexedVector", "QBit", "SVG"}
    | {"Random Number", "Rounding", "String", "String Replacement", "String Search", "String Splitting"}
    | {
        "Time Series",
        "Time Window",
        "Tuple",
        "Type Conversion",
        "URL",
        "UUID",
        "Window Functions",
        "Internal",
    }
)
OTHER_FUNCTIONS = frozenset(
    """
    FQDN MACNumToString MACStringToNum MACStringToOUI bar blockNumber blockSerializedSize blockSize buildId
    byteSize caseWithExpression countDigits currentDatabase currentProfiles currentQueryID currentRoles
    currentSchemas currentUser authenticatedUser connectionId defaultProfiles defaultRoles
    defaultValueOfArgumentType defaultValueOfTypeName digits displayName dumpColumnStructure enabledProfiles
    enabledRoles errorCodeToName finalizeAggregation formatQuery formatQueryOrNull formatQuerySingleLine
    formatQuerySingleLineOrNull formatReadableDecimalSize formatReadableQuantity formatReadableSize
    formatReadableTimeDelta generateSerialID getMaxTableNameLengthForDatabase getMergeTreeSetting getSetting
    getSettingOrDefault getSizeOfEnumType getSubcolumn getTypeSerializationStreams hasColumnInTable hostName
    identity ignore indexHint initialQueryID initialQueryStartTime initializeAggregation isConstant
    isDecimalOverflow joinGet joinGetOrNull lowCardinalityIndices lowCardinalityKeys materialize
    minSampleSizeContinuous minSampleSizeConversion neighbor nested normalizeQuery normalizeQueryKeepNames
    normalizedQueryHash normalizedQueryHashKeepNames parseISO8601Duration parseReadableSize
    parseReadableSizeOrNull parseReadableSizeOrZero parseTimeDelta partitionId queryID revision
    rowNumberInAllBlocks rowNumberInBlock runningAccumulate runningConcurrency runningDifference
    runningDifferenceStartingWithFirstValue serverUUID shardCount shardNum sleep sleepEachRow throwIf
    toColumnTypeName toTypeName tokenizeQuery transform uptime validateNestedArraySizes variantElement
    variantType version visibleWidth globalVariable colorOKLABToSRGB colorOKLCHToSRGB colorSRGBToOKLAB
    colorSRGBToOKLCH flipCoordinates
    """.split()  # noqa: SIM905
)
"""Of the functions that the engine puts into no category that is allowed as a whole."""
ACCESS_DENIED = 497
READONLY = 164
KNOWN_TEXTS_MAX = 512
KNOWN_TEXT_CHARACTERS_MAX = 16_384

_NODE = re.compile(r"( *)(\S+) ?(\S*)")
_FOREIGN_QUOTES = frozenset("‘’“”‚„‟‹›«»")


class Refused(EtlError):
    """``code`` is ClickHouse's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Allowed:
    """Judges the statements of one engine. Methods may be called from several threads."""

    def __init__(self, session: Any) -> None:
        functions = _rows(session, "SELECT name, categories, alias_to FROM system.functions")
        category = {name: kind for name, kind, _ in functions}
        allowed: set[str] = set()
        refused: set[str] = set()
        for name, kind, original in functions:
            kind = category.get(original, kind) if original else kind
            good = kind in FUNCTION_CATEGORIES or (original or name) in OTHER_FUNCTIONS
            (allowed if good else refused).add(name.lower())
        tables = {name.lower() for (name,) in _rows(session, "SELECT name FROM system.table_functions")}
        self._table_functions = tables
        self._refused = (refused | (tables - TABLE_FUNCTIONS - KEYWORDS)) - (allowed - {"file"})
        settings = _rows(
            session, "SELECT name FROM system.settings UNION ALL SELECT name FROM system.merge_tree_settings"
        )
        self._settings_refused = {name.lower() for (name,) in settings} - ALLOWED
        self._known: dict[tuple[str, frozenset[str]], str] = {}

    def check_settings(self, settings: Mapping[str, str]) -> None:
        """Raises ``Refused``. A name that the engine does not know is the engine's to refuse."""
        for name, value in settings.items():
            if name.lower() in self._settings_refused and (name, value) != (SCHEMA_SOURCE, "string"):
                raise Refused(ACCESS_DENIED, f"The setting {name} is not here")

    def check(
        self, session: Any, statement: Insert | Plain, parameters: Mapping[str, str], reads: bool
    ) -> None:
        """Raises ``Refused``; where ``reads``, also for what changes anything; and the engine's own error for a text
        that it cannot parse."""
        if isinstance(statement, Insert):
            self.check_text(
                session, f"{statement.head} {statement.clause} FORMAT {statement.format}", {}, reads
            )
            if statement.format.lower() == "values":
                self._check_words(statement.data.decode("utf-8", "replace"))
        else:
            self.check_text(session, statement.text, parameters, reads)

    def check_text(self, session: Any, text: str, parameters: Mapping[str, str], reads: bool = False) -> None:
        key = (text, frozenset(parameters))
        kind = self._known.get(key)
        if kind is None:
            self._check_words(text)
            kind = self._check_tree(_tree(session, text, parameters))
            if len(text) <= KNOWN_TEXT_CHARACTERS_MAX:
                if len(self._known) >= KNOWN_TEXTS_MAX:
                    self._known.clear()
                self._known[key] = kind
        if reads and kind not in READING:
            raise Refused(READONLY, "Cannot execute query in readonly mode: a GET request only reads")

    def _check_words(self, text: str) -> None:
        """Names before a bracket, words of files, settings; whatever the engine's parse would show of them."""
        names: set[str] = set()
        name, applies = "", False
        for kind, text_of in tokens(text):
            if kind == "quoted" and text_of[0] in '"`':
                name = text_of[1:-1].lower()
                if "\\" in name or text_of[0] * 2 in text_of[1:-1]:
                    raise Refused(ACCESS_DENIED, "A quoted name with an escape is not here")
            elif kind == "word":
                name = text_of.lower()
                if name in ("outfile", "infile"):
                    raise Refused(ACCESS_DENIED, f"{text_of}: no statement reaches files")
                applies = applies or name == "apply"
            else:
                if text_of == "(" and name in self._refused:
                    raise Refused(ACCESS_DENIED, f"{name}(): not here")
                if text_of in _FOREIGN_QUOTES:
                    raise Refused(ACCESS_DENIED, f"{text_of} is no quote here")
                name = ""
                continue
            names.add(name)
        made = (names & self._settings_refused) - WORDS if names & CLAUSES else ()
        if made:
            raise Refused(ACCESS_DENIED, f"The setting {min(made)} is not here")
        if applies and names & self._refused:
            raise Refused(ACCESS_DENIED, f"{min(names & self._refused)}: not here")

    def _check_tree(self, lines: Iterator[str]) -> str:
        """The kind of the statement."""
        path: list[str] = []
        database = False
        for line in lines:
            found = _NODE.match(line)
            if found is None:
                raise Refused(ACCESS_DENIED, "The engine's parse of this statement is not known here")
            depth, node, name = len(found.group(1)), found.group(2), found.group(3).lower()
            if not depth:
                if path or node not in READING | CHANGING:
                    raise Refused(ACCESS_DENIED, f"{node}: this kind of statement is not here")
                # CREATE DATABASE a: "CreateQuery a  (", CREATE TABLE a: "CreateQuery a (", and d.a: "CreateQuery d a ("
                database = node == "CreateQuery" and "  (" in line
            del path[depth:]
            above = path[-1] if path else ""
            if node == "Literal" and (above == "SelectWithUnionQuery" or depth == 1):
                raise Refused(ACCESS_DENIED, "No statement reaches files")
            if node == "Function":
                self._check_function(name, above, database)
            path.append(node)
        if not path:
            raise Refused(ACCESS_DENIED, "The engine's parse of this statement is not known here")
        return path[0]

    def _check_function(self, name: str, above: str, database: bool) -> None:
        if above == "Storage":  # a table's engine is the grants' matter; a database's is so only in part
            good = not database or name in DATABASE_ENGINES
        elif above in ("TableExpression", "InsertQuery", "CreateQuery", "DescribeQuery"):
            # what the engine has no function of is a view with parameters, whose own text was judged when it was made
            good = name in TABLE_FUNCTIONS or name not in self._table_functions
        else:
            good = name not in self._refused
        if not good:
            raise Refused(ACCESS_DENIED, f"{name}: not here")


def _tree(session: Any, text: str, parameters: Mapping[str, str]) -> Iterator[str]:
    answer = session.query(f"EXPLAIN AST {text}", "JSONCompactEachRow", params=dict(parameters) or None)
    for line in bytes(answer.bytes()).splitlines():
        try:
            yield msgspec.json.decode(line, type=list[str])[0]
        except msgspec.MsgspecError:
            raise Refused(ACCESS_DENIED, "The engine's parse of this statement is not known here") from None


def _rows(session: Any, sql: str) -> list[list[str]]:
    answer = bytes(session.query(sql, "JSONCompactEachRow").bytes())
    return [msgspec.json.decode(line, type=list[str]) for line in answer.splitlines()]
