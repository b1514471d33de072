"""Files that belong to the platform but to no package of it: SQL, DAGs, plugins, Airflow's configuration.

In a checkout they lie at its root, where a reader looks for them. A wheel carries them inside the package, where
``setup.py`` puts them at its build. Everything that needs one asks ``resource``.
"""

from __future__ import annotations

from pathlib import Path

from etl.errors import EtlError

IMPORT_ROOT = Path(__file__).resolve().parents[1]
"""The folder in which Python finds ``etl``: a checkout's root, or ``site-packages``."""
PACKAGED = Path(__file__).with_name("_resources")
"""There in an installed wheel alone."""


def resource(name: str) -> Path:
    """``"sql/clickhouse"``, ``"airflow.cfg"`` … → where it lies. Raises ``EtlError`` if this installation lacks it."""
    path = (PACKAGED if PACKAGED.is_dir() else IMPORT_ROOT) / name
    if not path.exists():
        raise EtlError(
            f"{name} is not in this installation ({path}): install the wheel, or run from a checkout"
        )
    return path


def cache_dir(name: str) -> Path:
    """Where what is fetched once for all state directories is kept: beside a checkout, else in the user's cache."""
    return (Path.home() / ".cache" / "etl" if PACKAGED.is_dir() else IMPORT_ROOT / ".cache") / name
