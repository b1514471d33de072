"""Intents, tokens, framing: what makes a batch the same batch again."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.internal.decoder import _DecodeVarint32  # type: ignore[attr-defined]

from etl.errors import StoreError, UsageError, WireError
from etl.sinks.clickhouse_batch import SCHEMA_VERSION, Intent, decode_intent, encode_intent, token
from etl.sinks.clickhouse_ways import (
    ANOTHER_INSERT_MESSAGES,
    MARKET_DATA_SCHEMA,
    delimited,
    is_worth_blocks,
    split_frequent,
)
from etl.stores.clickhouse_http import ClickHouse, parse_address
from etl.wire import codec
from etl.wire.codec import encode, encode_by_library
from tests.support import stream

MAKERS = (stream.trade, stream.quote, stream.book, stream.bar)
INTENT = Intent(topic_id="HLLDPaBDTx6FukMT1Lk9/A", start=10, end=25, rows=15, time_s=1_795_240_640.5)


def test_intent_survives_the_commit_metadata() -> None:
    assert decode_intent(encode_intent(INTENT), 10) == INTENT


@pytest.mark.parametrize("metadata", ["", None, "written by another tool", "{}", '{"start": 10}', "[]", "12"])
def test_foreign_metadata_is_no_intent(metadata: str | None) -> None:
    assert decode_intent(metadata, 10) is None


def test_an_intent_for_another_offset_than_the_committed_one_is_none() -> None:
    assert decode_intent(encode_intent(INTENT), 11) is None


def test_an_intent_that_ends_before_it_starts_is_none() -> None:
    assert decode_intent(encode_intent(Intent(topic_id="a", start=10, end=9)), 10) is None


def test_an_intent_of_newer_code_is_not_guessed_at() -> None:
    newer = Intent(topic_id="a", start=10, end=25, v=SCHEMA_VERSION + 1)
    with pytest.raises(WireError):
        decode_intent(encode_intent(newer), 10)


def test_an_empty_intent_says_only_whose_offset_it_is() -> None:
    settled = Intent(topic_id="a", start=10, end=10)
    assert settled.empty
    assert decode_intent(encode_intent(settled), 10) == settled


def test_an_intent_fits_into_the_brokers_limit_for_metadata() -> None:
    longest = Intent(topic_id="x" * 22, start=2**63 - 1, end=2**63 - 1, rows=10**9, time_s=1e10)
    assert len(encode_intent(longest)) < 4096


def test_every_part_of_the_token_makes_another_token() -> None:
    parts = ("cluster", "topic", 3, 10, 25, 1)
    others = [
        ("c2", "topic", 3, 10, 25, 1),
        ("cluster", "t2", 3, 10, 25, 1),
        ("cluster", "topic", 4, 10, 25, 1),
    ]
    others += [("cluster", "topic", 3, 11, 25, 1), ("cluster", "topic", 3, 10, 26, 1)]
    others += [("cluster", "topic", 3, 10, 25, 2)]
    assert len({token(*parts), *(token(*other) for other in others)}) == 1 + len(others)


@pytest.mark.parametrize("lengths", [[], [0], [1, 0, 2], [127, 128, 16_383, 16_384, 70_000], [2_100_000]])
def test_delimited_messages_come_out_as_they_went_in(lengths: list[int]) -> None:
    values = [bytes([number % 251]) * length for number, length in enumerate(lengths)]
    framed, position, found = delimited(values), 0, []
    while position < len(framed):
        length, position = _DecodeVarint32(framed, position)
        found.append(framed[position : position + length])
        position += length
    assert found == values


def test_blocks_are_made_of_one_kind_or_of_many_messages() -> None:
    trade, quote, book, bar = (encode(make(1)) for make in MAKERS)
    many = ANOTHER_INSERT_MESSAGES
    alone = [[trade], [quote, bar], [bar], [b"", b"\x08"]]
    assert [is_worth_blocks(values) for values in alone] == [True, True, False, False]
    assert not is_worth_blocks([trade] * (many - 2) + [quote])
    assert is_worth_blocks([trade] * (many - 1) + [quote, bar])
    assert not is_worth_blocks([trade, quote, book] * (many // 3))
    assert is_worth_blocks([trade, quote, book] * many)


def test_schema_text_keeps_numbers_names_and_presence_of_every_field() -> None:
    schema = MARKET_DATA_SCHEMA
    message = codec.MarketData.DESCRIPTOR
    assert schema.startswith('syntax="proto3";message MarketData{int32 kind=1;string exchange=2;')
    assert schema.count(";") == len(message.fields) + 1
    assert "optional string last_price=20;" in schema
    assert "repeated string bid_prices=40;" in schema
    assert "sfixed64 event_time_ns=6;" in schema
    assert descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED == 3


def test_a_url_gives_address_and_credentials_and_never_shows_the_password() -> None:
    address = parse_address("https://ann:p%40ss@ch.example:9440/market?verify=false")
    assert (address.secure, address.host, address.port, address.database) == (
        True,
        "ch.example",
        9440,
        "market",
    )
    assert (address.user, address.password, address.verify) == ("ann", "p@ss", False)
    assert "p@ss" not in repr(address) + address.text


@pytest.mark.parametrize(
    ("url", "port"), [("http://h/d", 8123), ("https://h/d", 8443), ("http://h:1/d", 1), ("http://h", 8123)]
)
def test_ports_default_by_scheme(url: str, port: int) -> None:
    assert parse_address(url).port == port


@pytest.mark.parametrize(
    "url", ["", "tcp://h:9000/d", "http:///d", "http://u:secret@h/a-b", "http://u:secret@h/d?veryfy=0"]
)
def test_a_url_that_cannot_be_meant_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(("version", "fits"), [("25.8.1.3", True), ("26.9.2.1", True), ("25.7.9.1", False)])
def test_servers_below_the_lowest_version_are_refused(
    version: str, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ClickHouse(parse_address("http://h/d"))
    monkeypatch.setattr(client, "execute", lambda sql: version.encode())
    if fits:
        assert client.check_version() == version
    else:
        with pytest.raises(StoreError, match=r"25\.8 or later"):
            client.check_version()


def test_frequent_kinds_are_told_by_how_they_begin_and_keep_their_order() -> None:
    records = [
        stream.bar(1),
        stream.trade(1),
        stream.gap(1),
        stream.quote(1),
        stream.book(1),
        stream.trade(2),
    ]
    values = [encode(record) for record in records]
    frequent, others = split_frequent(values)
    assert list(frequent) == [values[1], values[3], values[4], values[5]]
    assert list(others) == [values[0], values[2]]


def test_the_plain_encoder_begins_a_message_the_same_way() -> None:
    values = [encode_by_library(stream.trade(1)), encode_by_library(stream.bar(1))]
    assert split_frequent(values) == (values[:1], values[1:])
