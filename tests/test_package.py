"""The wheel, built from the sdist and installed in an environment of its own: what ``pip install etl`` gives.

The environment has our own wheel and finds the packages that it needs in the repository's, so that it costs seconds;
``make release-check`` installs everything anew.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import etl
from etl import settings as settings_module
from etl.resources import IMPORT_ROOT, resource
from etl.settings import Settings
from etl.stores.migrate import SQL_DIR, read_migrations
from tests.support.servers import settings_on_free_ports

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
PACKAGES = next(path for path in sys.path if path.endswith("site-packages"))
UP_WITHIN_S = 180.0
WHEEL_BYTES_MAX = 6 << 20
EXTRAS = {"stream", "lake", "gateway", "embedded", "airflow", "platform", "build", "dev"}
FRAME = (
    '{"stream":"bnbbtc@trade","data":{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100",'
    '"T":1672515782136,"m":true,"M":true}}\n'
)
"""From the venue's documentation."""
ONLY_BASE = """
import sys
from importlib.metadata import packages_distributions

wanted, distributions = set(sys.argv[1].split()), packages_distributions()

class Refusal:
    def find_spec(self, name, path=None, target=None):
        owners = {owner.lower().replace("_", "-") for owner in distributions.get(name.partition(".")[0], ())}
        if owners and not owners & wanted:
            raise ModuleNotFoundError(f"not of the base: {name}")

sys.meta_path.insert(0, Refusal())
sys.argv = ["etl", *sys.argv[2:]]
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel, built from the sdist, and the sdist; from a copy, for a build leaves files beside its sources."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked():
        copy = source / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((ROOT / name).read_bytes())
    command: list[str | Path] = [
        UV,
        "build",
        "--quiet",
        "--offline",
        "--no-build-isolation",
    ]
    subprocess.run([*command, "--python", sys.executable, "--out-dir", output, source], check=True)
    (wheel,), (sdist,) = output.glob("*.whl"), output.glob("*.tar.gz")
    return wheel, sdist


@pytest.fixture(scope="module")
def python(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the wheel."""
    environment = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    interpreter = environment / "bin" / "python"
    install: list[str | Path] = [
        UV,
        "pip",
        "install",
        "--quiet",
        "--offline",
        "--no-deps",
        "--python",
        interpreter,
    ]
    subprocess.run([*install, built[0]], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "repository.pth").write_text(f"{PACKAGES}\n")
    return interpreter


def tracked() -> list[str]:
    """Every file of the repository but what is tested, told and run around it; what is new is in it too."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    ).stdout.split()  # fmt: skip
    return [
        name for name in listed if not name.startswith(("tests/", "docs/", ".")) and (ROOT / name).exists()
    ]


def run(python: Path, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a folder that is no checkout, with no setting but those given."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(("ETL_", "PYTHON"))}
    return subprocess.run(
        [python, *words], env={**inherited, **environment}, cwd=python.parent, capture_output=True, text=True
    )


def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return message_from_bytes(file.read(name))


def requirements(wheel: Path) -> list[Requirement]:
    return [Requirement(text) for text in metadata(wheel).get_all("Requires-Dist", [])]


def test_the_wheel_has_every_file_of_the_package_and_what_lies_beside_it(built: tuple[Path, Path]) -> None:
    beside = ("sql/", "dags/", "plugins/", "docker/airflow/", "airflow.cfg")
    expected = {name for name in tracked() if name.startswith("etl/")}
    expected |= {f"etl/_resources/{name}" for name in tracked() if name.startswith(beside)}
    with zipfile.ZipFile(built[0]) as file:
        # what is compiled is there where there is a compiler
        packed = {name for name in file.namelist() if ".dist-info/" not in name and not name.endswith(".so")}
    assert packed == expected
    assert "etl/py.typed" in packed
    assert built[0].stat().st_size < WHEEL_BYTES_MAX


def test_the_sdist_has_no_cache_and_no_secret(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[1]) as file:
        names = file.getnames()
    assert not [name for name in names if re.search(r"__pycache__|node_modules|\.env$|/var/|\.cache", name)]


def test_the_version_stands_in_one_place(built: tuple[Path, Path]) -> None:
    assert metadata(built[0])["Version"] == etl.__version__
    assert f"-{etl.__version__}" in built[1].name
    assert not re.search(r'^version = "', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_every_requirement_has_a_lower_and_an_upper_bound(built: tuple[Path, Path]) -> None:
    free = {"fsspec", "setuptools"}  # numbered by the date; asked for by nothing but our own build
    for requirement in requirements(built[0]):
        operators = {bound.operator for bound in requirement.specifier}
        if requirement.name not in free | {"etl"}:
            assert operators in ({"=="}, {">=", "<"}), requirement
    assert set(metadata(built[0]).get_all("Provides-Extra", [])) == EXTRAS


def base(wheel: Path) -> str:
    """The packages that an installation without extras brings, with theirs."""
    from importlib.metadata import requires

    found: set[str] = set()
    pending = [
        item for item in requirements(wheel) if item.marker is None or item.marker.evaluate({"extra": ""})
    ]
    while pending:
        name = pending.pop().name.lower().replace("_", "-")
        if name not in found:
            found.add(name)
            needed = (Requirement(text) for text in requires(name) or ())
            pending += [item for item in needed if not item.marker or item.marker.evaluate({"extra": ""})]
    return " ".join({*found, "etl"})


def test_the_base_parses_frames_and_has_the_client_without_airflow_and_kafka(
    built: tuple[Path, Path], python: Path, tmp_path: Path
) -> None:
    names = base(built[0])
    assert not {"confluent-kafka", "apache-airflow", "chdb", "psycopg", "duckdb"} & set(names.split())
    tape = tmp_path / "tape.jsonl"
    tape.write_text(FRAME)
    parsed = run(
        python, "-c", f"{ONLY_BASE}\nfrom etl.cli import main\nmain()", names, "parse", "binance", tape
    )
    assert parsed.returncode == 0, parsed.stderr
    (trade,) = map(json.loads, parsed.stdout.splitlines())
    assert (trade["kind"], trade["symbol"], trade["last_price"], trade["side"]) == (
        "trade",
        "BNB-BTC",
        "0.001",
        "sell",
    )
    client = "import etl.client, etl.model.records; print(etl.client.__file__)"
    imported = run(python, "-c", f"{ONLY_BASE}\n{client}", names)
    assert imported.stdout.startswith(str(python.parents[1])), imported.stderr


def test_every_resource_of_the_checkout_is_in_the_installation(python: Path) -> None:
    names = (
        "sql/clickhouse",
        "sql/timescale",
        "dags",
        "plugins",
        "airflow.cfg",
        "docker/airflow/bootstrap.py",
    )
    code = "import sys; from etl.resources import resource; print(*map(resource, sys.argv[1:]), sep='\\n')"
    found = [Path(text) for text in run(python, "-c", code, *names).stdout.split()]
    assert [path.relative_to(found[-2].parent) for path in found] == [Path(name) for name in names]
    assert found[-2] != resource("airflow.cfg") == IMPORT_ROOT / "airflow.cfg"
    for path, name in zip(found, names, strict=True):
        for file in (
            item for item in path.rglob("*.*") if item.is_file() and "__pycache__" not in item.parts
        ):
            assert file.read_bytes() == (ROOT / name / file.relative_to(path)).read_bytes()


def test_an_installation_without_its_sql_says_so_and_migrates_nothing(python: Path) -> None:
    code = "import etl.resources as r, pathlib; r.PACKAGED = pathlib.Path('/nowhere'); r.IMPORT_ROOT = r.PACKAGED"
    ended = run(
        python, "-c", f"{code}\nimport sys; sys.argv = ['etl', 'migrate']\nfrom etl.cli import main; main()"
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("etl: sql is not in this installation (/nowhere/sql): install the wheel")


@pytest.mark.integration
def test_the_installation_migrates_a_store(python: Path, settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(clickhouse=True)
    ended = run(python, "-m", "etl", "migrate", "clickhouse", **settings_module.as_environment(settings))
    every = ", ".join(migration.label for migration in read_migrations(SQL_DIR / "clickhouse"))
    assert (ended.stderr, ended.stdout) == ("", f"clickhouse: {every}\n")


@pytest.mark.integration
@pytest.mark.slow
def test_the_installation_runs_a_platform_that_loses_nothing(python: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    settings = settings_module.as_environment(settings_on_free_ports(tmp_path / "state"))
    words = ("up", "--no-airflow", "--profile", "light", "--no-gateway", "--stores", "clickhouse")
    short = ("--venues", "binance", "--rate", "50", "--duration", "5", "--state", tmp_path / "state")
    ended = run(python, "-m", "etl", *words, *short, "--report", report, **settings)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    result = json.loads(report.read_text())
    assert (result["ok"], result["stores"]) == (True, ["clickhouse"])
