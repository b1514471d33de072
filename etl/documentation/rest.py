"""The gateway's HTTP interface, from its endpoints."""

from __future__ import annotations

from etl.documentation.tables import table
from etl.gateway.api import ENDPOINTS, Endpoint

_HEAD = """\
# HTTP interface

{made}

`GET` with `Authorization: Bearer TOKEN`. The gateway serves the same as `/openapi.json`, and its streams as
`/asyncapi.json`; [gateway.md](../gateway.md) explains both. [errors.md](errors.md) has what it answers instead of rows.
"""


def page(made: str) -> str:
    lines = [_HEAD.format(made=made)]
    for endpoint in ENDPOINTS.values():
        lines += _section(endpoint)
    return "\n".join(lines).rstrip() + "\n"


def _section(endpoint: Endpoint) -> list[str]:
    rows = [
        (
            f"`{parameter.name}`" + (" (needed)" if parameter.is_required else ""),
            ", ".join(f"`{choice}`" for choice in parameter.choices) or parameter.kind,
            f"`{parameter.default}`" if parameter.default != "" else "",
            parameter.meaning,
        )
        for parameter in endpoint.parameters
    ]
    columns = ", ".join(f"`{name}`" for name in endpoint.columns)
    return [
        f"## {endpoint.path}", "", endpoint.meaning, "", *table(("parameter", "", "default", ""), rows), "",
        f"Columns: {columns}", "",
    ]  # fmt: skip
