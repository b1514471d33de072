"""The stream as an AsyncAPI document, made of the structs that requests are read into and answers written from."""

from __future__ import annotations

from typing import Any

import msgspec

import etl
from etl.gateway.messages import ANSWERS, REQUESTS

CHANNEL = "#/channels/stream"
RECORD: dict[str, Any] = {
    "type": "object",
    "required": ["kind", "exchange", "symbol"],
    "properties": {
        "kind": {"type": "string"},
        "at": {"type": "string", "description": "Its place on the topic, partition:offset"},
        "exchange": {"type": "string"},
        "symbol": {"type": "string"},
    },
    "description": "With the fields of docs/topics.md",
}


def document() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(
        [*REQUESTS, *ANSWERS], ref_template="#/components/schemas/{name}"
    )
    for answer in ("Snapshot", "Records"):
        schemas[answer]["properties"]["records"]["items"] = {"$ref": "#/components/schemas/Record"}
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Market data: streams", "version": etl.__version__},
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "description": "A websocket. Records may come as Protobuf instead of texts of `records`.",
                "messages": {
                    message.__name__: {"$ref": f"#/components/messages/{message.__name__}"}
                    for message in (*REQUESTS, *ANSWERS)
                },
            }
        },
        "operations": {
            "ask": _operation("receive", REQUESTS),
            "tell": _operation("send", ANSWERS),
        },
        "components": {
            "messages": {message.__name__: _message(message) for message in (*REQUESTS, *ANSWERS)},
            "schemas": {**schemas, "Record": RECORD},
        },
    }


def _operation(action: str, messages: tuple[type[msgspec.Struct], ...]) -> dict[str, Any]:
    """``action`` as the gateway does it."""
    references = [{"$ref": f"{CHANNEL}/messages/{message.__name__}"} for message in messages]
    return {"action": action, "channel": {"$ref": CHANNEL}, "messages": references}


def _message(message: type[msgspec.Struct]) -> dict[str, Any]:
    return {
        "name": str(message.__struct_config__.tag),
        "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
    }
