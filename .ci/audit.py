"""Judges what pip-audit and npm audit reported (``make audit``): ``python .ci/audit.py FOLDER``.

Exit code 1 where a known vulnerability was found. What the services were not asked about, for they cannot be reached or
do not know the package, is said in one line and is no failure: a machine without a network could else never pass, and
neither program tells the two apart by its exit code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# what was found, a line each, and why nothing or not everything was asked
Judgement = tuple[list[str], str]


def python(report: dict[str, Any]) -> Judgement:
    """pip-audit's: a package that its service does not know is skipped, and yet it exits with 0."""
    packages = report["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {weakness['id']}, mended in "
        f"{', '.join(weakness['fix_versions']) or 'no version'}"
        for package in packages
        for weakness in package.get("vulns", ())
    ]
    skipped = [package["skip_reason"] for package in packages if "skip_reason" in package]
    return found, f"{len(skipped)} of {len(packages)} packages: {skipped[0]}" if skipped else ""


def npm(report: dict[str, Any]) -> Judgement:
    if "vulnerabilities" not in report:
        return [], report.get("message") or report["error"]["summary"]
    return [f"{name}: {found['severity']}" for name, found in report["vulnerabilities"].items()], ""


JUDGES: dict[str, Callable[[dict[str, Any]], Judgement]] = {"python": python, "npm": npm}


def judge(folder: Path, name: str) -> Judgement:
    """Of ``<name>.json``; where the program died without a report, the last line of ``<name>.log`` says why."""
    text = (folder / f"{name}.json").read_text()
    if not text.strip():
        return [], (folder / f"{name}.log").read_text().strip().rpartition("\n")[2] or "no report"
    return JUDGES[name](json.loads(text))


def main() -> int:
    code = 0
    for name in JUDGES:
        found, unasked = judge(Path(sys.argv[1]), name)
        for line in found:
            print(f"{name}: vulnerable: {line}")
            code = 1
        if unasked:
            print(f"{name}: NOT ASKED: {unasked}")
        elif not found:
            print(f"{name}: no known vulnerability")
    print("jars: NOT ASKED: neither program knows Maven; give .cache/sbom/maven.cdx.json to one that does")
    return code


if __name__ == "__main__":
    sys.exit(main())
