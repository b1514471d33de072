"""What clients are told of the protocol is what the structs say: docs/gateway.md, and the AsyncAPI document."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from etl.gateway.asyncapi import document
from etl.gateway.messages import ANSWERS, REQUESTS, Derive, Subscribe, decode_request
from etl.model.derived import AnyDerived

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
DERIVED = get_args(AnyDerived)


def rows(head: str) -> list[list[str]]:
    """The cells of the table whose head begins so."""
    table = PAGE.partition(f"\n| {head}")[2].partition("\n\n")[0]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in table.splitlines()[2:]]


def words(text: str) -> set[str]:
    return set(re.findall(r"`([\w-]+)`", text))


def fields(struct: type[msgspec.Struct]) -> set[str]:
    return set(struct.__struct_encode_fields__)


def test_the_page_names_every_field_of_a_subscription() -> None:
    assert set().union(*(words(row[0]) for row in rows("field |"))) == fields(Subscribe)


def test_the_page_names_every_message_and_its_fields() -> None:
    table = {row[0].strip("`"): row[1] for row in rows("`type` of what is told |")}
    assert list(table) == [answer.__struct_config__.tag for answer in ANSWERS]
    for answer in ANSWERS:
        assert fields(answer) <= words(table[str(answer.__struct_config__.tag)]), answer


def test_the_page_names_all_that_can_be_derived() -> None:
    table = rows("`derive` | gives |")
    assert {row[0].strip("`") for row in table} == fields(Derive)
    given = {row[1].strip("`"): words(row[2]) for row in table if row[1]}
    assert set(given) == {str(one.__struct_config__.tag) for one in DERIVED}
    for one in DERIVED:
        own = fields(one) - {"exchange", "symbol", "interval", "channel", "sequence"}
        own -= {
            "event_time_ns",
            "receive_time_ns",
            "bar_state",
            "is_whole",
            "late_trades",
        }  # told beside the table
        assert own <= given[str(one.__struct_config__.tag)], one
    beside = PAGE.partition("### Derived on the way")[2].partition("\n## ")[0]
    assert words(beside) >= {"interval", "bar_state", "is_whole", "late_trades", "is_joined"}


def test_the_document_has_every_message_and_field() -> None:
    told = json.loads(json.dumps(document()))
    schemas = told["components"]["schemas"]
    for struct in (*REQUESTS, *ANSWERS, Derive, *DERIVED):
        tag_field, tag = struct.__struct_config__.tag_field, struct.__struct_config__.tag
        own = schemas[struct.__name__]["properties"]
        assert set(own) == fields(struct) | ({tag_field} if tag_field else set()), struct
        assert not tag_field or own[tag_field] == {"enum": [tag]}
    asked, answered = told["operations"]["ask"], told["operations"]["tell"]
    for operation, structs in ((asked, REQUESTS), (answered, ANSWERS)):
        found = [resolved(told, resolved(told, one)) for one in operation["messages"]]
        assert [one["name"] for one in found] == [struct.__struct_config__.tag for struct in structs]
        assert [resolved(told, one["payload"])["title"] for one in found] == [s.__name__ for s in structs]
    assert {one["action"] for one in (asked, answered)} == {"receive", "send"}


def resolved(told: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = told
    for part in reference["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


@pytest.mark.parametrize("text", re.findall(r"```json\n(\{\"op\".*?)\n```", PAGE, re.DOTALL))
def test_the_pages_requests_are_understood(text: str) -> None:
    request = decode_request(text)
    assert isinstance(request, Subscribe)
    request.selection()
    request.derivation()
