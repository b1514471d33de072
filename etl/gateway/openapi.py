"""The HTTP interface as an OpenAPI document, and as a page that needs no script: both are made of ``api.ENDPOINTS``."""

from __future__ import annotations

from html import escape
from typing import Any

import etl
from etl.gateway.api import ENDPOINTS, Endpoint, Parameter
from etl.gateway.ranges import FORMATS

ERRORS = {
    "400": "A parameter is wrong, missing or unknown",
    "401": "No token, or none that is good",
    "403": "The token is not good for this, or a foreign page asks",
    "413": "More rows or bytes than one question may read",
    "429": "More requests a minute than the token has",
    "503": "The store is down, or too many questions wait",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;"
    "border-bottom:1px solid #8884}code{font-size:.95em;overflow-wrap:anywhere}"
)


def document() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Market data", "version": etl.__version__},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["code", "message"],
                    "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
                }
            },
        },
        "security": [{"token": []}],
        "paths": {endpoint.path: {"get": _operation(endpoint)} for endpoint in ENDPOINTS.values()},
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    row = {"type": "object", "properties": {name: {} for name in endpoint.columns}}
    contents = {kind.partition(";")[0]: {"schema": row} for _, kind in FORMATS.values()}
    failure = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    is_paged = any(parameter.name == "cursor" for parameter in endpoint.parameters)
    cursor = {"X-Next-Cursor": {"description": "There is more", "schema": {"type": "string"}}}
    return {
        "operationId": endpoint.name,
        "summary": endpoint.meaning,
        "parameters": [_parameter(parameter) for parameter in endpoint.parameters],
        "responses": {
            "200": {"description": "Rows", "content": contents, **({"headers": cursor} if is_paged else {})},
            **{status: {"description": text, "content": failure} for status, text in ERRORS.items()},
        },
    }


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.default != "":
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": "query",
        "required": parameter.is_required,
        "description": parameter.meaning,
        "schema": schema,
    }


def page() -> str:
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Market data: HTTP</title><style>{_STYLE}</style><h1>Market data over HTTP</h1>",
        "<p>Send <code>Authorization: Bearer TOKEN</code>. The same as a document: <a href=/openapi.json>"
        "openapi.json</a>. Streams: <code>/v1/stream</code>, a websocket, as a document: <a href=/asyncapi.json>"
        "asyncapi.json</a>.</p>",
    ]
    for endpoint in ENDPOINTS.values():
        rows = "".join(_row(parameter) for parameter in endpoint.parameters)
        columns = ", ".join(f"<code>{escape(name)}</code>" for name in endpoint.columns)
        parts.append(
            f"<h2 id={endpoint.name}><code>GET {endpoint.path}</code></h2><p>{escape(endpoint.meaning)}.</p>"
            f"<table><tr><th>parameter<th>meaning<th>default{rows}</table><p>Columns: {columns}</p>"
        )
    return "".join(parts)


def _row(parameter: Parameter) -> str:
    choices = f" ({', '.join(parameter.choices)})" if parameter.choices else ""
    default = "required" if parameter.is_required else str(parameter.default).lower()
    return f"<tr><td><code>{parameter.name}</code><td>{escape(parameter.meaning + choices)}<td>{default}"
