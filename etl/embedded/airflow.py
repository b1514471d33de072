"""Airflow on one machine: its parts, its secrets and users, and a small client of its REST API.

Four processes, each its own part, from the one ``airflow.cfg`` of the repository; places and secrets travel by
``AIRFLOW__*`` variables. The processes that serve logs are left out: on one machine the API server reads them
from disk. Measured on two cores: bootstrap 9 s (skipped when nothing changed), ready 20 s, 740 MB together.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from etl.embedded import airflow_template
from etl.embedded.airflow_template import BOOTSTRAP, ROLE_BY_USER
from etl.embedded.part import PROBE_TIMEOUT_S, Part
from etl.errors import EtlError, UsageError
from etl.resources import resource
from etl.settings import Settings
from etl.stores.files import write_whole

NICE = ("nice", "-n", "5")
"""Airflow takes both cores for its first 20 s: the venues' workers and the stores go first."""
READY_WITHIN_S = 300.0
STOP_WITHIN_S = 15.0
REQUEST_TIMEOUT_S = 30.0
REQUEST_ATTEMPTS_MAX = 5
RETRY_STEP_S = 0.5
RUN_POLL_S = 0.5
SQLITE_WAIT_MAX_S = 30
DAG_WITHIN_S = 120.0
"""How long the DAG processor may take to see a DAG file for the first time."""


class Credentials(Struct, frozen=True):
    """What is generated once per state directory and kept there with mode 0600."""

    fernet_key: str
    jwt_secret: str
    api_secret_key: str
    passwords: dict[str, str]

    def __repr__(self) -> str:
        return "Credentials(…)"


def credentials(settings: Settings) -> Credentials:
    """The kept credentials, or new ones."""
    file = _home(settings.state_path) / "credentials.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Credentials)
    made = Credentials(
        fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        jwt_secret=secrets.token_urlsafe(64),
        api_secret_key=secrets.token_urlsafe(32),
        passwords={user: secrets.token_urlsafe(12) for user in ROLE_BY_USER},
    )
    write_whole(file, msgspec.json.encode(made), mode=0o600)
    return made


def url(settings: Settings) -> str:
    """Where a browser finds Airflow, without credentials and trailing slash."""
    if settings.airflow.url:
        parts = _parts(settings.airflow.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])).rstrip("/")
    host = "127.0.0.1" if settings.bind_host in ("0.0.0.0", "::") else settings.bind_host  # noqa: S104
    return f"http://{host}:{settings.airflow.port}"


def _parts(address: str) -> SplitResult:
    """Raises ``UsageError``, whose text repeats nothing of what may be a password."""
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_one = False
    if not is_one or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        raise UsageError("airflow_url: must be http[s]://[user:password@]host[:port]")
    return parts


def login(settings: Settings) -> tuple[str, str]:
    """User and password for the REST API: of ``airflow_url``, or the embedded administrator's."""
    if settings.airflow.url:
        parts = _parts(settings.airflow.url)
        return unquote(parts.username or ""), unquote(parts.password or "")
    return "admin", credentials(settings).passwords["admin"]


def airflow_parts(
    settings: Settings, depends_on: tuple[str, ...] = (), dag_metrics_port: int = 0
) -> tuple[Part, ...]:
    """Bootstrap, API server, scheduler, DAG processor and triggerer.

    Scheduler and triggerer start after ``depends_on``, for they run tasks; and the scheduler after the API server,
    without which a task fails at once. The others need only the metadata.
    """
    kept = credentials(settings)
    environment = airflow_environment(settings, kept)
    bootstrap = _bootstrap_part(settings, kept, environment)

    def component(name: str, depends_on: tuple[str, ...], *words: str) -> Part:
        return Part(
            name=f"airflow-{name}",
            command=(*NICE, sys.executable, "-m", "etl.embedded.airflow_component", name, *words),
            environment=environment,
            depends_on=("airflow-bootstrap", *depends_on),
            ready=_component_ready(settings, name.replace("-", "_")),
            ready_within_s=READY_WITHIN_S,
            stop_within_s=STOP_WITHIN_S,
        )

    api_server = msgspec.structs.replace(
        component("api-server", ()), ports={"airflow_port": settings.airflow.port}, ready=_api_ready(settings)
    )
    scheduler = component("scheduler", ("airflow-api-server", *depends_on), "--skip-serve-logs")
    if (
        dag_metrics_port
    ):  # its tasks inherit the environment, and look for the platform's metrics where all do
        scheduler = msgspec.structs.replace(
            scheduler,
            environment={
                **environment,
                "ETL_METRICS_PORT": str(settings.metrics.port),
                "ETL_DAG_METRICS_PORT": str(dag_metrics_port),
            },
            metrics_port=dag_metrics_port,
        )
    return (
        bootstrap,
        api_server,
        component("dag-processor", ()),
        scheduler,
        component("triggerer", depends_on, "--skip-serve-logs"),
    )


def airflow_environment(settings: Settings, kept: Credentials) -> dict[str, str]:
    """Airflow's variables: places, secrets, connections. All agree on one address for API and UI."""
    home = _home(settings.state_path)
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(resource("airflow.cfg")),
        "AIRFLOW__CORE__DAGS_FOLDER": str(resource("dags")),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(resource("plugins")),
        "AIRFLOW__CORE__FERNET_KEY": kept.fernet_key,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url(settings)}/execution/",
        "AIRFLOW__API__BASE_URL": url(settings),
        "AIRFLOW__API__HOST": settings.bind_host,
        "AIRFLOW__API__PORT": str(settings.airflow.port),
        "AIRFLOW__API__SECRET_KEY": kept.api_secret_key,
        "AIRFLOW__API_AUTH__JWT_SECRET": kept.jwt_secret,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url(settings),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home / "bundles"),
        "AIRFLOW_CONN_TIMESCALE_DEFAULT": settings.timescale_address,
        "AIRFLOW_CONN_CLICKHOUSE_DEFAULT": settings.clickhouse_address,
        "AIRFLOW_CONN_SMTP_DEFAULT": settings.smtp_address,
        "ETL_DAG_METRICS_PORT": "0",  # the scheduler's alone
    }


class AirflowClient:
    """Airflow's REST API as one user. Blocking; every call raises ``EtlError`` with what Airflow said."""

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self._base_url = base_url
        answer = self._call("POST", "/auth/token", {"username": user, "password": password})
        self._token = str(answer["access_token"])

    def dag_ids(self) -> list[str]:
        answer = self._call("GET", "/api/v2/dags?limit=100")
        return sorted(dag["dag_id"] for dag in answer["dags"])

    def import_errors(self) -> list[str]:
        answer = self._call("GET", "/api/v2/importErrors?limit=100")
        return [f"{error['filename']}: {error['stack_trace']}" for error in answer["import_errors"]]

    async def wait_for_dags(self, dag_ids: Iterable[str], within_s: float = DAG_WITHIN_S) -> None:
        """Wait until the DAG processor has seen every one of ``dag_ids``."""
        deadline = time.monotonic() + within_s
        while missing := set(dag_ids) - set(await asyncio.to_thread(self.dag_ids)):
            if time.monotonic() > deadline:
                errors = "; ".join(self.import_errors()) or "no import errors"
                raise EtlError(f"Airflow does not know the DAGs {', '.join(sorted(missing))}: {errors}")
            await asyncio.sleep(RUN_POLL_S)

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Start a run now; returns its id. The id is ours, so that a repeated request starts no second run."""
        run_id = f"etl__{uuid.uuid4()}"
        run = {"dag_run_id": run_id, "logical_date": datetime.now(UTC).isoformat(), "conf": dict(conf or {})}
        self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", run, repeated_status=409)
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        return str(self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def finished_runs(self, since: datetime, count_max: int) -> list[dict[str, Any]]:
        """Runs of all DAGs that succeeded or failed since then, the newest first."""
        query = f"state=success&state=failed&order_by=-end_date&limit={count_max}"
        since_text = since.strftime("%Y-%m-%dT%H:%M:%SZ")
        answer = self._call("GET", f"/api/v2/dags/~/dagRuns?{query}&end_date_gte={since_text}")
        return list(answer["dag_runs"])

    async def wait_for_run(self, dag_id: str, run_id: str, within_s: float) -> None:
        """Wait until the run has succeeded; a failed or late run raises."""
        deadline = time.monotonic() + within_s
        while (state := await asyncio.to_thread(self.run_state, dag_id, run_id)) != "success":
            if state == "failed" or time.monotonic() > deadline:
                raise EtlError(f"Airflow run {dag_id} {run_id}: {state}, waited at most {within_s:g} s")
            await asyncio.sleep(RUN_POLL_S)

    def _call(self, method: str, path: str, body: object = None, repeated_status: int = 0) -> dict[str, Any]:
        """The answer. A server that is slow or busy is asked again; every request here may be repeated, and one that
        was done the first time is answered with ``repeated_status``."""
        request = urllib.request.Request(  # noqa: S310
            self._base_url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        if path != "/auth/token":
            request.add_header("Authorization", f"Bearer {self._token}")
        for attempt in range(1, REQUEST_ATTEMPTS_MAX + 1):
            try:
                with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:  # noqa: S310
                    return dict(json.load(answer))
            except urllib.error.HTTPError as error:
                if attempt > 1 and error.code == repeated_status:
                    return {}
                failure = f"Airflow {method} {path}: {error.code} {error.read()[:300].decode()}"
                if error.code < 500:
                    raise EtlError(failure) from None
            except (OSError, HTTPException) as error:
                failure = f"Airflow at {self._base_url}: {error}"
            time.sleep(attempt * RETRY_STEP_S)
        raise EtlError(f"{failure}; {REQUEST_ATTEMPTS_MAX} attempts")


def _bootstrap_part(settings: Settings, kept: Credentials, environment: Mapping[str, str]) -> Part:
    """Migrates the metadata and makes the users; nothing but a marker's check when that was done before."""
    command: tuple[str, ...] = (*NICE, sys.executable, str(BOOTSTRAP))
    home = _home(settings.state_path)
    marker = home / "bootstrapped"
    if not (home / "airflow.db").exists():
        marker.unlink(missing_ok=True)
    if not settings.airflow.database_url:  # what became of a database elsewhere, no marker here can tell
        command += (str(marker), _fingerprint(settings, kept))
        if (template := airflow_template.template()).exists():
            command += (str(home / "airflow.db"), str(template))
    users = {
        f"BOOTSTRAP_USER_{user.upper()}": f"{ROLE_BY_USER[user]}:{password}"
        for user, password in kept.passwords.items()
    }
    return Part(
        name="airflow-bootstrap",
        command=command,
        environment={**environment, **users},
        runs_once=True,
        ready_within_s=READY_WITHIN_S,
    )


def _fingerprint(settings: Settings, kept: Credentials) -> str:
    """Equal as long as neither Airflow, nor what the bootstrap does, nor the set of users changed."""
    fingerprint = hashlib.sha256(f"{database_url(settings)} {airflow_template.fingerprint()}".encode())
    fingerprint.update(msgspec.json.encode(kept.passwords, order="sorted"))
    return fingerprint.hexdigest()


def database_url(settings: Settings) -> str:
    """Of Airflow's metadata."""
    # the driver's own 5 s are over before a scheduler on a loaded machine lets its writers go
    default = f"sqlite:///{_home(settings.state_path) / 'airflow.db'}?timeout={SQLITE_WAIT_MAX_S}"
    return settings.airflow.database_url or default


def _home(state_path: Path) -> Path:
    return state_path / "airflow"


def _api_ready(settings: Settings) -> Callable[[], bool]:
    return lambda: bool(_health(settings))


def _component_ready(settings: Settings, name: str) -> Callable[[], bool]:
    return lambda: _health(settings).get(name, {}).get("status") == "healthy"


def _health(settings: Settings) -> dict[str, Any]:
    """What the API server knows of the components' heartbeats; nothing if its answer is cut."""
    address = f"{url(settings)}/api/v2/monitor/health"
    with urllib.request.urlopen(address, timeout=PROBE_TIMEOUT_S) as answer:  # noqa: S310
        try:
            return dict(json.load(answer))
        except ValueError:
            return {}
