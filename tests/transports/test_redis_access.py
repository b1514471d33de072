"""Redis over TLS, as a user who may do no more than docs/deployment.md says, in a database and under a prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from etl.embedded.valkey import valkey_part
from etl.errors import TransportError
from etl.settings import Settings, changed, make
from etl.transports.group import Place
from etl.transports.redis_client import Connection, Refused, parse_address
from etl.transports.transport import read_topic, transport_of
from tests.support.certificates import Authority
from tests.support.servers import RunningPart
from tests.support.tls_front import tls_front
from tests.transports.test_contract import Reading, polled

pytestmark = pytest.mark.integration

PASSWORD = "p@ss/w:rd"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "deployment.md").read_text()
RIGHTS = DOCUMENT.partition("ACL SETUSER etl on >PASSWORD ")[2].partition("\n")[0].split()
"""As the document gives them."""


@pytest.fixture
def server(crashable: Callable[..., RunningPart]) -> RunningPart:
    running = crashable(valkey_part)
    asked = Connection(parse_address(f"redis://127.0.0.1:{running.settings.transport.redis_port}"))
    asked.call("ACL", "SETUSER", "etl", "on", f">{PASSWORD}", *RIGHTS)
    asked.call("ACL", "SETUSER", "default", "off")
    asked.close()
    return running


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def settings(server: RunningPart, authority: Authority) -> Iterator[Settings]:
    with tls_front(server.settings.transport.redis_port, authority.identity()) as port:
        login = f"etl:{quote(PASSWORD, safe='')}@"
        url = f"rediss://{login}127.0.0.1:{port}/3?prefix=etl:&ca_file={authority.ca_file}"
        yield make(transport_url=url, topic_partitions=1)


def test_everything_works_with_these_rights_over_tls_and_nothing_else_is_allowed(settings: Settings) -> None:
    assert RIGHTS[0] == "~etl:*"
    transport, topics = transport_of(settings), settings.topics
    transport.ensure_topics()
    transport.hold(topics.raw, "held")
    publisher = transport.publisher()
    for number in range(1_000):
        publisher.publish(topics.raw, b"k", b"%d" % number)
    publisher.publish(topics.positions, b"k", b"1")
    publisher.publish(topics.positions, b"k", b"2")
    publisher.flush(30.0)
    assert [int(m.value or b"") for m in read_topic(settings, topics.raw, "tests")] == list(range(1_000))
    assert [m.value for m in read_topic(settings, topics.positions, "tests")] == [b"2"]
    member = Reading(transport, "group", topics.raw)
    polled([member], lambda: len(member.values) == 1_000)
    member.group.commit_now([Place(topics.raw, 0, 1_000, "word")])
    member.group.close()
    assert transport.behind("group", [topics.raw], 10.0) == 0
    connection = Connection(parse_address(settings.redis_address))
    for command in (
        ("SET", "other", "1"),
        ("CONFIG", "SET", "appendfsync", "no"),
        ("FLUSHALL",),
        ("ACL", "LIST"),
    ):
        with pytest.raises(Refused, match="NOPERM"):
            connection.call(*command)
    connection.close()


def test_a_server_that_cannot_prove_who_it_is_and_a_wrong_password_are_refused(
    settings: Settings, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "others").mkdir()
    stranger = Authority(tmp_path / "others")
    trusting = settings.transport.url.replace(str(authority.ca_file), str(stranger.ca_file))
    with pytest.raises(TransportError, match="certificate verify failed"):
        transport_of(changed(settings, transport_url=trusting)).ensure_topics()
    wrong = settings.transport.url.replace(quote(PASSWORD, safe=""), "secret")
    with pytest.raises(TransportError, match="WRONGPASS") as refused:
        transport_of(changed(settings, transport_url=wrong)).ensure_topics()
    assert "secret" not in str(refused.value)
