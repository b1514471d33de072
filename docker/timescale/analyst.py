"""Make sure of the login of ETL_TIMESCALE_ANALYST_URL, which may only read; idempotent.

Run by the init service of compose.yaml, after `etl migrate` has made the role `etl_analyst`. Its password travels by
environment, never on a command line, and is that of the environment after each run.
"""

from __future__ import annotations

from contextlib import suppress

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from etl.settings import load
from etl.stores import timescale


def main() -> None:
    settings = load()
    analyst = conninfo_to_dict(settings.timescale.analyst_url)
    login = {"name": sql.Identifier(str(analyst["user"])), "password": sql.Literal(analyst["password"])}
    with timescale.connect(settings) as connection:
        with suppress(psycopg.errors.DuplicateObject):  # by an earlier run
            connection.execute(sql.SQL("CREATE ROLE {name} LOGIN").format(**login))
        connection.execute(sql.SQL("ALTER ROLE {name} PASSWORD {password}").format(**login))
        connection.execute(sql.SQL("GRANT etl_analyst TO {name}").format(**login))


if __name__ == "__main__":
    main()
