"""TimescaleDB's client: how a connection is opened, and psycopg's errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from etl.errors import StoreError, StoreRejected, StoreUnavailable
from etl.settings import Settings

CONNECT_TIMEOUT_S = 10
_REJECTED_CLASSES = ("22", "23", "54")


def connect(settings: Settings) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection in which every statement is its own transaction. Raises ``StoreUnavailable``."""
    with store_errors(settings):
        return psycopg.connect(settings.timescale_address, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)


@contextmanager
def session(settings: Settings) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Such a connection for a few statements, closed at the end. What fails within is a ``StoreError``."""
    with store_errors(settings), connect(settings) as connection:
        yield connection


@contextmanager
def store_errors(settings: Settings) -> Iterator[None]:
    """psycopg's errors as ours."""
    try:
        yield
    except psycopg.errors.UndefinedTable as error:
        raise StoreError(f"TimescaleDB: {_first_line(error)}: run etl migrate") from None
    except psycopg.Error as error:
        refusal = isinstance(error, psycopg.DataError)  # without a state where psycopg itself refuses a NUL
        if refusal or (error.sqlstate or "")[:2] in _REJECTED_CLASSES:
            raise StoreRejected(f"TimescaleDB: {_first_line(error)}") from None
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            raise StoreUnavailable(f"TimescaleDB at {_place(settings)}: {_first_line(error)}") from None
        raise StoreError(f"TimescaleDB: {_first_line(error)}") from None


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _place(settings: Settings) -> str:
    """The address without user and password."""
    return settings.timescale_address.rpartition("@")[2]
