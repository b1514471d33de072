"""Bring Airflow's metadata up to date and make sure of the pools and users; idempotent.

    bootstrap.py [MARKER FINGERPRINT [DATABASE TEMPLATE]]

Run by `etl up` and by the init service of compose.yaml, with Airflow's own environment and, per user,
BOOTSTRAP_USER_<NAME>=<role>:<password>. Does nothing when the file MARKER holds FINGERPRINT, and writes it at
the end. Where the SQLite file DATABASE is not there yet, it becomes a copy of TEMPLATE with the users' passwords,
and nothing of Airflow is imported unless there are users that it does not have. Else one
process instead of four `airflow` commands, each of which takes about
four seconds to start.
Passwords travel by environment, never on a command line.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from etl.exchanges import files

POOLS_FILE = Path(__file__).with_name("pools.json")
VENUE_SLOTS = "2"
USER_PREFIX = "BOOTSTRAP_USER_"
Users = dict[str, tuple[str, str]]
"""Role and password by name."""


def main() -> None:
    marker, fingerprint = (Path(sys.argv[1]), sys.argv[2]) if len(sys.argv) >= 3 else (None, "")
    if marker and marker.exists() and marker.read_text() == fingerprint:
        return
    wanted = users()
    if not copied(wanted, *map(Path, sys.argv[3:5])):
        set_up(wanted)
    if marker:
        marker.write_text(fingerprint)


def copied(wanted: Users, database: Path | None = None, template: Path | None = None) -> bool:
    if database is None or template is None or database.exists():
        return False
    from etl.embedded import airflow_template

    known = airflow_template.ROLE_BY_USER
    if not known.items() <= {name: role for name, (role, _) in wanted.items()}.items():
        return False
    airflow_template.copy(database, {name: wanted[name][1] for name in known}, template)
    make_users({name: found for name, found in wanted.items() if name not in known})
    return True


def set_up(wanted: Users) -> None:
    airflow("db", "migrate")
    airflow("pools", "import", str(POOLS_FILE))
    for venue in files():
        airflow("pools", "set", f"venue_{venue}", VENUE_SLOTS, f"Requests to the history of {venue}")
    make_users(wanted)


def make_users(wanted: Users) -> None:
    for name, (role, password) in wanted.items():
        airflow(
            # one word: a password may begin with "-"
            *("users", "create", "--username", name, "--role", role, f"--password={password}"),
            *("--firstname", name.capitalize(), "--lastname", "User", "--email", f"{name}@localhost.invalid"),
        )


def users() -> Users:
    """The environment has them no more."""
    found = {}
    for variable in [name for name in os.environ if name.startswith(USER_PREFIX)]:
        role, password = os.environ.pop(variable).split(":", 1)
        found[variable.removeprefix(USER_PREFIX).lower()] = role, password
    return found


def airflow(*words: str) -> None:
    from airflow.cli.cli_parser import get_parser  # takes seconds to import

    arguments = get_parser().parse_args(words)
    arguments.func(arguments)


if __name__ == "__main__":
    main()
