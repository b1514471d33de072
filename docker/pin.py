"""Writes beside each image's tag the digest that the registry has for it now: ``python docker/pin.py`` (needs Docker).

A tag can be moved to other bytes, a digest cannot. An image that has a digest gets the present one of its tag: the
difference in Git is then what moved. ``tests/test_docker.py`` says which images have none yet.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FILES = (HERE / "compose.yaml", HERE / "compose.light.yaml", HERE / "Dockerfile")
IMAGE = re.compile(r"^(\s+image: |ARG BASE=)([\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?$", re.MULTILINE)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest(image: str) -> str:
    """Of the list of all platforms' manifests."""
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if not DIGEST.fullmatch(found):
        sys.exit(f"docker gives no digest of {image}: {found!r}")
    return found


def main() -> None:
    pinned = {
        file: IMAGE.sub(lambda match: f"{match[1]}{match[2]}@{digest(match[2])}", file.read_text())
        for file in FILES
    }
    for file, text in pinned.items():
        file.write_text(text)


if __name__ == "__main__":
    main()
