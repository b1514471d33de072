"""Kafka over TLS: every client of a cluster that asks for a password or a certificate, on a real broker."""

from __future__ import annotations

import ast
import asyncio
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from etl import settings as settings_module
from etl.bench.toxics.proxy import DELAY, Proxy, Toxic
from etl.errors import TransportError, UsageError
from etl.settings import Settings, changed
from etl.stores.migrate import migrate_clickhouse
from etl.transports import kafka_clients
from etl.transports.kafka import ensure_topics
from etl.transports.kafka_backlogs import behind
from tests.ingest.test_worker import wired, worker
from tests.support import secure_kafka, stream
from tests.support.certificates import Authority
from tests.support.clickhouse_sink import drain
from tests.support.processes import etl_command
from tests.support.secure_kafka import PASSWORD, secure_kafka_part, with_certificate, with_password
from tests.support.servers import RunningPart, settings_on_free_ports
from tests.support.topics import eventually, records
from tests.support.venue_server import VenueServer, trade, venue_server

ROOT = Path(__file__).parents[2]
COMMAND_WITHIN_S = 60.0
ANSWER_WITHIN_S = 10.0
CLIENTS = {
    "Consumer",
    "Producer",
    "AdminClient",
    "DeserializingConsumer",
    "SerializingProducer",
    "AIOProducer",
}
SASL = {"kafka_url": "broker:9093", "kafka_sasl_mechanism": "PLAIN", "kafka_user": "u", "kafka_password": "p"}
TLS = {"kafka_url": "broker:9093", "kafka_security_protocol": "SSL"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Settings]:
    """The settings of a broker that runs; its clients need more."""
    settings = settings_on_free_ports(tmp_path_factory.mktemp("broker"))
    running = RunningPart(secure_kafka_part(settings, authority), settings)
    running.start()
    yield settings
    running.stop()


@pytest.fixture
def place(broker: Settings, settings_with: Callable[..., Settings]) -> Settings:
    """Topics of the test's own on the broker."""
    return settings_with(kafka_port=broker.kafka.port)


def etl(settings: Settings, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("ETL_")},
        **settings_module.as_environment(settings),
    }
    return subprocess.run(
        etl_command(*words),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_WITHIN_S,
    )


@pytest.fixture
def venue() -> Iterator[VenueServer]:
    with venue_server() as running:
        yield running


@pytest.mark.integration
def test_a_worker_publishes_and_the_sink_and_the_commands_read_over_tls_with_a_password(
    settings_with: Callable[..., Settings], broker: Settings, authority: Authority, venue: VenueServer
) -> None:
    own = settings_with(clickhouse=True, kafka_port=broker.kafka.port, topic_partitions=1)
    settings = wired(with_password(own, authority), venue)
    made = etl(settings, "topics")
    assert made.stdout.split() == [
        settings.topics.raw,
        settings.topics.normalized,
        settings.topics.quarantine,
        settings.topics.statistics,
        settings.topics.positions,
    ]
    with worker(settings) as running:
        venue.send(*[trade(n) for n in range(1, 11)], '{"cut":')
        eventually(lambda: running.metric("etl_frames_total") >= 11)
        assert running.stop() == 0
    assert PASSWORD not in running.log.read_text()
    topics = (settings.topics.normalized,)
    count = len(records(settings))
    assert count >= 10
    assert behind(settings, "nobody", topics, ANSWER_WITHIN_S) == count
    migrate_clickhouse(settings)
    drain(settings)
    rows = etl(settings, "query", "SELECT count() AS n FROM trades", "--csv")
    assert (rows.stderr, rows.stdout.split()) == ("", ["n", "10"])
    listed = etl(settings, "quarantine", "list", "--code", "undecodable", "--json")
    assert (listed.returncode, listed.stdout.count('"undecodable"')) == (0, 1)


@pytest.mark.integration
@pytest.mark.parametrize("mechanism", [*secure_kafka.SCRAM, "PLAIN"])
def test_each_mechanism_lets_us_in(place: Settings, authority: Authority, mechanism: str) -> None:
    settings = with_password(place, authority, kafka_sasl_mechanism=mechanism)
    ensure_topics(settings)
    stream.publish(settings, stream.trade(1))
    assert records(settings) == [stream.trade(1)]


@pytest.mark.integration
def test_a_certificate_lets_us_in_and_without_one_nothing_is_told(
    place: Settings, authority: Authority
) -> None:
    settings = with_certificate(place, authority)
    stream.publish(settings, stream.trade(1))
    assert records(settings) == [stream.trade(1)]
    bare = changed(settings, kafka_certificate_file="", kafka_key_file="")
    with pytest.raises(TransportError, match=r": .* certificate required.*; look at kafka_certificate_file$"):
        ensure_topics(bare)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"kafka_password": "hunter2"}, r"SASL authentication error: .*; look at kafka_user, kafka_password"),
        ({"kafka_user": "eve"}, r"SASL authentication error: .*; look at kafka_user, kafka_password"),
        ({"kafka_sasl_mechanism": "PLAIN", "kafka_password": "hunter2"}, r"SASL authentication error: "),
        (
            {"kafka_ca_file": ""},
            r"SSL handshake failed: .*certificate verify failed.*; look at kafka_ca_file",
        ),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ca_file": ""},
            r"it hangs up; is another kafka_security_protocol than SASL_PLAINTEXT ",
        ),
        (
            {
                "kafka_security_protocol": "PLAINTEXT",
                "kafka_ca_file": "",
                "kafka_sasl_mechanism": "",
                "kafka_user": "",
                "kafka_password": "",
            },
            r"it hangs up; is another kafka_security_protocol than PLAINTEXT ",
        ),
        (
            {
                "kafka_security_protocol": "SSL",
                "kafka_sasl_mechanism": "",
                "kafka_user": "",
                "kafka_password": "",
            },
            r"it hangs up; is another kafka_security_protocol than SSL ",
        ),
    ],
)
def test_what_the_cluster_refuses_is_one_line_that_names_the_setting(
    place: Settings, authority: Authority, values: dict[str, Any], reason: str
) -> None:
    settings = with_password(place, authority, **values)
    refused = etl(settings, "topics")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert re.match(f"etl: Kafka at {settings.kafka_bootstrap}: {reason}", line)
    assert "hunter2" not in line
    assert PASSWORD not in line


DOWN = (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down")
BROKEN = (
    KafkaError._TRANSPORT,
    "ssl://127.0.0.1:9093/bootstrap: Send failed: error:80000020:system library::Broken pipe: "
    "tls_retry_write_records failure (after 0ms in state UP)",
)
RESET = (
    KafkaError._TRANSPORT,
    "127.0.0.1:9093/bootstrap: Receive failed: Connection reset by peer (after 1ms in state APIVERSION_QUERY)",
)
ABSENT = (
    KafkaError._TRANSPORT,
    "127.0.0.1:9093/bootstrap: Connect to ipv4#127.0.0.1:9093 failed: Connection refused "
    "(after 0ms in state CONNECT)",
)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([DOWN, DOWN], True),
        ([DOWN, BROKEN, DOWN], True),
        ([RESET], True),
        ([RESET, ABSENT], False),
        ([ABSENT, DOWN], False),
        ([DOWN, (KafkaError._RESOLVE, "broker:9093/bootstrap: Failed to resolve")], False),
        ([], False),
    ],
)
def test_who_hangs_up_while_we_write_is_told_from_who_is_not_there(
    told: list[tuple[int, str]], expected: bool
) -> None:
    assert kafka_clients.hangs_up([KafkaError(*each) for each in told]) is expected


@pytest.mark.integration
def test_a_cluster_that_hangs_up_late_is_named_all_the_same(place: Settings, authority: Authority) -> None:
    far = "127.0.0.2"
    settings = changed(
        with_certificate(place, authority),
        kafka_url=f"{far}:{place.kafka.port}",
        kafka_security_protocol="PLAINTEXT",
    )

    async def run() -> None:
        async with Proxy(far, place.kafka.port, place.bind_host) as proxy, proxy.poisoned(Toxic(DELAY, 1.6)):
            began_s = time.monotonic()
            with pytest.raises(
                TransportError, match="it hangs up; is another kafka_security_protocol than PLAIN"
            ):
                await asyncio.to_thread(kafka_clients.consumer, settings, "g")
            assert time.monotonic() - began_s > kafka_clients.ACCESS_WITHIN_S

    asyncio.run(run())


@pytest.mark.integration
def test_another_authority_and_another_host_are_refused(
    place: Settings, authority: Authority, tmp_path: Path
) -> None:
    other = with_password(place, Authority(tmp_path))
    with pytest.raises(TransportError, match="certificate verify failed"):
        kafka_clients.consumer(other, "g")
    renamed = with_password(place, authority, kafka_url=f"localhost:{place.kafka.port}")
    with pytest.raises(TransportError, match="certificate verify failed"):
        kafka_clients.consumer(renamed, "g")
    ensure_topics(changed(renamed, kafka_verify_host=False))


@pytest.mark.integration
def test_a_plaintext_broker_that_is_asked_for_tls_is_named(
    settings_with: Callable[..., Settings], authority: Authority
) -> None:
    plain = settings_with(kafka=True)
    settings = changed(plain, kafka_security_protocol="SSL", kafka_ca_file=str(authority.ca_file))
    with pytest.raises(
        TransportError,
        match=r"PLAINTEXT broker listener\?; is another kafka_security_protocol than SSL what it",
    ):
        ensure_topics(settings)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kafka_security_protocol": "TLS"}, "kafka_security_protocol must be PLAINTEXT, SSL, SASL_SSL or"),
        ({"kafka_security_protocol": "SSL"}, "SSL needs a kafka_url"),
        ({"kafka_user": "u"}, "need SASL_SSL, and this is PLAINTEXT"),
        ({"kafka_password": "p"}, "need SASL_SSL, and this is PLAINTEXT"),
        ({**SASL, "kafka_security_protocol": "SSL"}, "need SASL_SSL, and this is SSL"),
        ({"kafka_ca_file": "ca.pem"}, "need SSL or SASL_SSL, and this is PLAINTEXT"),
        ({"kafka_verify_host": False}, "need SSL or SASL_SSL, and this is PLAINTEXT"),
        ({**SASL, "kafka_security_protocol": "SASL_PLAINTEXT"}, "it needs SASL_SSL"),
        ({**SASL, "kafka_security_protocol": "SASL_SSL", "kafka_user": ""}, "needs kafka_user and"),
        ({**SASL, "kafka_security_protocol": "SASL_SSL", "kafka_password": ""}, "needs kafka_user and"),
        (
            {**SASL, "kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "GSSAPI"},
            "needs a kafka_sasl_mechanism: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN",
        ),
        ({**TLS, "kafka_certificate_file": "c.pem"}, "need one another"),
        ({**TLS, "kafka_key_file": "k.pem"}, "need one another"),
        ({**TLS, "kafka_key_password": "p"}, "kafka_key_password needs kafka_key_file"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_at_the_start(
    values: dict[str, Any], message: str
) -> None:
    environment = settings_module.as_environment(settings_module.make(**values))
    with pytest.raises(UsageError, match=f"^settings: .*{message}") as refused:
        settings_module.load(environment)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named() -> None:
    settings = settings_module.make(**TLS, kafka_ca_file="/nowhere/ca.pem")
    with pytest.raises(UsageError, match=r"^Kafka at broker:9093: .*ca\.location"):
        kafka_clients.admin(settings)


def test_clients_of_kafka_are_made_in_one_place() -> None:
    folders = ("etl", "dags", "plugins", "docker", "tests")
    makers = {
        path.relative_to(ROOT).as_posix(): made
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if (made := CLIENTS & called(path))
    }
    # a section of the settings has a client's name
    sections = {"etl/settings/__init__.py": {"Producer"}}
    assert makers == {"etl/transports/kafka_clients.py": {"Consumer", "Producer", "AdminClient"}, **sections}


def test_what_a_client_says_goes_to_the_log_and_never_past_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = settings_on_free_ports(tmp_path)
    for client in (kafka_clients.producer(settings), kafka_clients.consumer(settings, "nobody")):
        caplog.clear()
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while "Connection refused" not in caplog.text and time.monotonic() < deadline:
            client.poll(0.02)
        assert "Connection refused" in caplog.text
    assert capfd.readouterr().err == ""


def test_nobody_asks_in_the_way_that_ends_the_process() -> None:
    asking = [path for path in (ROOT / "etl").rglob("*.py") if "describe_cluster" in called(path)]
    assert asking == [], "see etl/transports/kafka_clients.py::admin"


NESTED = {"poll", "consume", "close", "list_topics"}
"""What of a consumer, asked within a call of its own, makes the client's next line of log end the process."""


def test_no_assignment_is_served_by_a_call_that_ends_the_process() -> None:
    group = ast.parse((ROOT / "etl" / "transports" / "kafka_group.py").read_text())
    outside = {"consume", "close"}
    asked = {
        (function.name, call.func.attr)
        for function in ast.walk(group)
        if isinstance(function, ast.FunctionDef) and function.name not in outside
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in NESTED
        if ast.unparse(call.func.value) in ("self._consumer", "consumer")
    }
    assert asked == set(), "see etl/transports/kafka_group.py::KafkaGroup.cluster_id"


def called(path: Path) -> set[str]:
    """The plain names of what is called in the file."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return {call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "") for call in calls}
