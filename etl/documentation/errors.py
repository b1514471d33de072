"""Errors and exit codes, from the tree of ``etl.errors``."""

from __future__ import annotations

import etl.errors
from etl.documentation.tables import table
from etl.gateway.openapi import ERRORS

_HEAD = """\
# Errors

{made}

A command that fails says why in one line on standard error. What is wrong with *data* is no error: it is quarantined
with a code ([validation.md](../validation.md)), or declared as a gap.
"""


def page(made: str) -> str:
    base = etl.errors.EtlError
    found = [each for each in vars(etl.errors).values() if isinstance(each, type) and issubclass(each, base)]
    tree = (etl.errors.__doc__ or "").partition("\n\n")[2].rstrip()
    codes = sorted({(each.exit_code, each.__name__) for each in found if "exit_code" in vars(each)})
    rows = [
        (code, f"`{name}`" + (" and all below it" if name == base.__name__ else "")) for code, name in codes
    ]
    rows += [(130, "a run with a duration was stopped before its end")]
    lines = [
        _HEAD.format(made=made),
        "## The tree",
        "",
        *(f"    {line}".rstrip() for line in tree.splitlines()),
        "",
    ]
    lines += ["## Exit codes", "", *table(("code", "error"), rows), ""]
    lines += ["## The gateway's answers", "", *table(("status", ""), sorted(ERRORS.items()))]
    return "\n".join(lines) + "\n"
