"""Environments of other people's programs: not ours, for what they pin is not what we pin. ``make peer`` makes them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from etl.errors import EtlError
from etl.resources import IMPORT_ROOT

VERSIONS = {"cryptofeed": "2.4.1", "hftbacktest": "2.4.4"}
BESIDE = {"cryptofeed": ("aiokafka", "uvloop")}
"""What it does not name, and needs for what it is asked here."""
MADE_WITHIN_S = 300.0


def interpreter(peer: str) -> Path:
    """Its Python; there only once it was made."""
    return IMPORT_ROOT / ".cache" / "peers" / peer / "bin" / "python"


def made(peer: str) -> str:
    """Its Python; made on first use. Raises ``EtlError``."""
    uv, python = str(Path(sys.executable).with_name("uv")), interpreter(peer)
    for command in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(python.parents[1])],
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(python),
            f"{peer}=={VERSIONS[peer]}",
            *BESIDE.get(peer, ()),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=MADE_WITHIN_S)
        if done.returncode:
            raise EtlError(f"{peer} cannot be installed: {done.stderr.strip()[-300:]}")
    return str(python)


if __name__ == "__main__":
    for name in VERSIONS:
        print(made(name))
