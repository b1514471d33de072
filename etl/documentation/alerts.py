"""Every alert of docker/prometheus/alerts.yml with its expression, as a page. The file is read by its form, which
``tests/test_documentation.py`` holds to what YAML says: nothing that runs needs a reader of YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

RULES = Path(__file__).resolve().parents[2] / "docker" / "prometheus" / "alerts.yml"
_GROUP = re.compile(r"^  - name: (.+)$", re.MULTILINE)
_ALERT = re.compile(r"^      - alert: (\w+)$", re.MULTILINE)
_FIELD = r"^        {name}: (.+(?:\n {{10}}.+)*)$"

_HEAD = """\
# Alerts

{made}

Of `docker/prometheus/alerts.yml`: what Prometheus asks, for how long it must hold, and what the mail says. Severity
`page`: data is late or being lost now; `note`: look at it today. The name leads to what to do;
[monitoring](../monitor.md) says how they are run.
"""


class Alert(Struct, frozen=True):
    name: str
    group: str
    severity: str
    holds_for: str
    """"" = it fires at once."""
    expression: str
    summary: str


def page(made: str) -> str:
    lines = [_HEAD.format(made=made)]
    group = ""
    for alert in alerts():
        if alert.group != group:
            group = alert.group
            lines.append(f"## {group.capitalize()}\n")
        held = f", after {alert.holds_for}" if alert.holds_for else ""
        lines += [
            f"### [{alert.name}](../runbooks/{alert.name}.md)\n",
            f"Severity `{alert.severity}`{held}: “{alert.summary}”\n",
            *(f"    {line}" for line in alert.expression.splitlines()),
            "",
        ]
    return "\n".join(lines)


def alerts() -> Iterator[Alert]:
    """In the file's order."""
    _, *groups = _GROUP.split(RULES.read_text())
    for group, rules in zip(groups[::2], groups[1::2], strict=True):
        _, *found = _ALERT.split(rules)
        for name, text in zip(found[::2], found[1::2], strict=True):
            severity = re.search(r"severity: (\w+)", text)
            summary = re.search(r'^          summary: "(.*)"$', text, re.MULTILINE)
            assert severity is not None, name
            assert summary is not None, name
            yield Alert(
                name=name,
                group=group,
                severity=severity[1],
                holds_for=_field(text, "for"),
                expression=_field(text, "expr"),
                summary=summary[1].replace('\\"', '"'),
            )


def _field(text: str, name: str) -> str:
    found = re.search(_FIELD.format(name=name), text, re.MULTILINE)
    if found is None:
        return ""
    lines = found[1].removeprefix("|\n").splitlines()
    return "\n".join(line.removeprefix(" " * 10) for line in lines)
