"""TimescaleDB's client: how a connection is opened, and psycopg's errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from etl.errors import StoreError, StoreRejected, StoreUnavailable, UsageError
from etl.model.addresses import UNREADABLE, shown
from etl.settings import Settings

CONNECT_TIMEOUT_S = 10
_REJECTED_CLASSES = ("22", "23", "54")


def connect(settings: Settings, address: str = "") -> psycopg.Connection[tuple[Any, ...]]:
    """A connection in which every statement is its own transaction; ``address``: another than the platform's own.
    Raises ``StoreUnavailable``."""
    address = address or settings.timescale_address
    place = shown(address)
    with store_errors(settings):
        try:
            return psycopg.connect(address, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S)
        except psycopg.ProgrammingError:  # its text repeats what it could not read
            raise UsageError(f"timescale_url: {place} is no address that PostgreSQL takes") from None
        except psycopg.OperationalError as error:
            # its text has the host as libpq read it, which may be the end of a password
            if place.endswith(UNREADABLE) or "invalid" in str(error):
                raise UsageError(f"timescale_url: {place} is no address that PostgreSQL takes") from None
            raise


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
            raise StoreUnavailable(
                f"TimescaleDB at {shown(settings.timescale_address)}: {_first_line(error)}"
            ) from None
        raise StoreError(f"TimescaleDB: {_first_line(error)}") from None


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
