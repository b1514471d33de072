"""The lock files: complete, pinned, and tied to no registry."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EMBEDDED = ROOT / "etl" / "embedded"


def requirements(file: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line]


def test_every_python_requirement_is_locked_to_one_version_that_it_allows() -> None:
    locked = {canonicalize_name(lock.name): lock for lock in requirements("requirements.txt")}
    for lock in locked.values():
        assert re.fullmatch(r"==[^*,]+", str(lock.specifier)), f"{lock} is not pinned"
    for wanted in requirements("requirements.in"):
        version = next(iter(locked[canonicalize_name(wanted.name)].specifier)).version
        assert wanted.specifier.contains(version, prereleases=True), (
            f"run make lock: {wanted}, locked {version}"
        )


def test_no_lock_names_a_registry() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"https?://|^-i|--(extra-)?index-url|--find-links", text, re.MULTILINE)
    packages = json.loads((EMBEDDED / "timescale_front" / "package-lock.json").read_text())["packages"]
    assert not any("resolved" in package for package in packages.values())


def test_node_packages_are_locked_with_their_integrity() -> None:
    front = EMBEDDED / "timescale_front"
    wanted = json.loads((front / "package.json").read_text())["dependencies"]
    locked = json.loads((front / "package-lock.json").read_text())["packages"]
    assert locked[""]["dependencies"] == wanted
    for name, version in wanted.items():
        package = locked[f"node_modules/{name}"]
        assert package["version"] == version
        assert package["integrity"].startswith("sha512-")


def test_the_jars_are_pinned() -> None:
    pom = ElementTree.parse(EMBEDDED / "kafka_broker" / "pom.xml").getroot()
    versions = [node.text for node in pom.iter() if node.tag.endswith("}version")]
    assert versions
    assert all(re.fullmatch(r"\d+(\.\d+)*", version or "") for version in versions)
