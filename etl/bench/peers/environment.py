"""The environment that has cryptofeed: not ours, for what it pins is not what we pin. ``make peer`` makes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from etl.errors import EtlError
from etl.up.plan import SOURCE_ROOT

VERSION = "2.4.1"
WANTED = (f"cryptofeed=={VERSION}", "aiokafka", "uvloop")
MADE_WITHIN_S = 300.0
PLACE = SOURCE_ROOT / ".cache" / "peers" / "cryptofeed"
INTERPRETER = PLACE / "bin" / "python"


def made() -> str:
    """Its Python; made on first use. Raises ``EtlError``."""
    uv = str(Path(sys.executable).with_name("uv"))
    for command in (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(PLACE)],
        [uv, "pip", "install", "--quiet", "--python", str(INTERPRETER), *WANTED],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=MADE_WITHIN_S)
        if done.returncode:
            raise EtlError(f"cryptofeed cannot be installed: {done.stderr.strip()[-300:]}")
    return str(INTERPRETER)


if __name__ == "__main__":
    print(made())
