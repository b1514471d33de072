"""A child process that leads its session: waiting for its end, ending it with all its children, how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess

from etl.embedded import sessions
from etl.embedded.sessions import Session

EXIT_POLL_S = 0.05


async def exit_code(process: subprocess.Popen[bytes]) -> int:
    while (code := process.poll()) is None:  # noqa: ASYNC110 - a child's end sets no event
        await asyncio.sleep(EXIT_POLL_S)
    return code


async def end_child(process: subprocess.Popen[bytes], session: Session, within_s: float) -> None:
    """SIGTERM to the leader alone, who ends its children in its own order; then SIGKILL to who is left."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(exit_code(process), within_s)
    await asyncio.to_thread(sessions.kill, session)
    process.wait()


def exit_text(code: int | None) -> str:
    if code is None:
        return ""
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
