"""The metadata of a new Airflow, made once by ``make setup``: a new state folder copies them instead of making its own.

Tables, roles, pools and users are the same for every new state folder; only the users' passwords differ. The template
has the users with a password that none matches. It belongs to these versions of Airflow and FAB, this set-up and
these venues, and is passed over when any of them changes.

    python -m etl.embedded.airflow_template         makes it, under .cache
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from etl.exchanges import files
from etl.resources import IMPORT_ROOT, cache_dir, resource
from etl.settings import other_environment

BOOTSTRAP = resource("docker/airflow/bootstrap.py")
CACHE_DIR = cache_dir("airflow")
ROLE_BY_USER = {"admin": "Admin", "operator": "Op", "viewer": "Viewer"}
NO_PASSWORD = "!"  # noqa: S105 - none
"""No digest: nothing matches it."""
RECORD_WITHIN_S = 600.0


def fingerprint() -> str:
    """Equal as long as neither Airflow, nor what the bootstrap does, nor the set of users and pools changed."""
    found = hashlib.sha256()
    for name in ("apache-airflow", "apache-airflow-providers-fab"):
        found.update(version(name).encode())
    for file in sorted(BOOTSTRAP.parent.glob("*.*")):
        found.update(file.read_bytes())
    found.update(repr([files(), sorted(ROLE_BY_USER.items())]).encode())
    return found.hexdigest()


def template() -> Path:
    """Where the template for this code lies, or would lie."""
    return CACHE_DIR / f"template-{fingerprint()[:16]}.db"


def copy(database: Path, passwords: Mapping[str, str], source: Path) -> None:
    """A new ``database`` whose users have these passwords: whole or none. Raises ``OSError``, ``sqlite3.Error``."""
    from werkzeug.security import generate_password_hash

    partial = database.with_name(f".{database.name}.partial")
    shutil.copyfile(source, partial)
    with closing(sqlite3.connect(partial)) as connection, connection:
        for user, password in passwords.items():
            changed = connection.execute(
                "UPDATE ab_user SET password = ? WHERE username = ?", (generate_password_hash(password), user)
            )
            if changed.rowcount != 1:
                raise sqlite3.DataError(f"{source}: no user {user}")
    partial.rename(database)


def record() -> None:
    """Make the template by the bootstrap itself. An existing one is kept."""
    target = template()
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        database = Path(folder) / "airflow.db"
        users = {f"BOOTSTRAP_USER_{user.upper()}": f"{role}:none" for user, role in ROLE_BY_USER.items()}
        places = {
            "AIRFLOW_HOME": folder,
            "AIRFLOW_CONFIG": str(resource("airflow.cfg")),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
            "PYTHONPATH": str(IMPORT_ROOT),
        }
        subprocess.run(
            [sys.executable, str(BOOTSTRAP)],
            env={**other_environment(), **places, **users},
            stdout=subprocess.DEVNULL,
            timeout=RECORD_WITHIN_S,
            check=True,
        )
        with closing(sqlite3.connect(database)) as connection:
            with connection:
                connection.execute("UPDATE ab_user SET password = ?", (NO_PASSWORD,))
            connection.execute("VACUUM INTO ?", (str(Path(folder) / "template.db"),))
        (Path(folder) / "template.db").rename(target)


if __name__ == "__main__":
    record()
