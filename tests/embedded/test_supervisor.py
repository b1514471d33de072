from __future__ import annotations

import asyncio
import functools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.embedded import sessions, supervisor
from etl.embedded.part import Part, tcp_ready
from etl.embedded.part_log import bound_log
from etl.embedded.ports import free_ports
from etl.embedded.status import read_status
from etl.embedded.supervisor import Supervisor
from etl.errors import PartError

WITHIN_S = 30.0
SLEEP_FOREVER = "import time\nwhile True: time.sleep(60)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEP_FOREVER


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-S", "-c", code)


def touching(file: Path) -> str:
    """A program that appends the time of its start to ``file`` and then runs for ever."""
    return f"import time; open({str(file)!r}, 'a').write(f'{{time.monotonic_ns()}}\\n')\n" + SLEEP_FOREVER


def written(file: Path) -> Callable[[], bool]:
    return lambda: file.exists() and file.stat().st_size > 0


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "condition not reached"
        await asyncio.sleep(0.02)


def until_now(condition: Callable[[], bool]) -> None:
    asyncio.run(until(condition))


def test_parts_start_after_what_they_depend_on_is_ready(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    slow = "import time; time.sleep(0.4)\n" + touching(first)

    async def scenario() -> None:
        parts = [
            Part(
                name="second", command=python(touching(second)), depends_on=("first",), ready=written(second)
            ),
            Part(name="first", command=python(slow), ready=written(first)),
        ]
        async with Supervisor(parts, os.environ, tmp_path) as running:
            await running.all_ready()
            assert [state.state for state in running.states.values()] == ["running", "running"]

    asyncio.run(scenario())
    assert int(first.read_text()) < int(second.read_text())


def test_parts_stop_before_what_they_depend_on(tmp_path: Path) -> None:
    log = tmp_path / "order"
    last_word = (
        "import signal, sys, time\n"
        "def stop(*_): open({log!r}, 'a').write({name!r} + ' '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop); open({ready!r}, 'w').write('x')\n"
    )

    def part(name: str, *depends_on: str) -> Part:
        ready = tmp_path / f"{name}.ready"
        code = last_word.format(log=str(log), name=name, ready=str(ready)) + SLEEP_FOREVER
        return Part(name=name, command=python(code), depends_on=depends_on, ready=written(ready))

    async def scenario() -> None:
        parts = [part("store"), part("sink", "store"), part("dashboard", "sink", "store")]
        async with Supervisor(parts, os.environ, tmp_path) as running:
            await running.all_ready()

    asyncio.run(scenario())
    assert log.read_text().split() == ["dashboard", "sink", "store"]


def test_a_part_that_runs_once_is_done_when_it_ends_well(tmp_path: Path) -> None:
    async def scenario() -> None:
        parts = [Part(name="migrate", command=python("print('done')"), runs_once=True)]
        async with Supervisor(parts, os.environ, tmp_path) as running:
            await running.all_ready()
            await until(lambda: running.states["migrate"].state == "done")

    asyncio.run(scenario())
    assert (tmp_path / "logs" / "migrate.log").read_text() == "done\n"


def test_a_part_that_was_killed_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF_FIRST_S", 0.05)
    starts = tmp_path / "starts"

    def has_started(times: int) -> bool:
        return len(starts.read_text().split()) == times

    async def scenario() -> None:
        parts = [Part(name="worker", command=python(touching(starts)), ready=written(starts))]
        async with Supervisor(parts, os.environ, tmp_path) as running:
            await running.all_ready()
            state = running.states["worker"]
            for times in (2, 3):
                os.kill(state.pid, signal.SIGKILL)
                await until(functools.partial(has_started, times))
            assert state.restarts == 2
            assert state.last_exit == "signal SIGKILL"

    asyncio.run(scenario())


def test_a_part_that_never_is_ready_stops_the_whole_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF_FIRST_S", 0.01)

    async def scenario() -> None:
        bad = Part(
            name="bad", command=python("import sys; print('no such jar'); sys.exit(3)"), ready=lambda: False
        )
        good = Part(name="good", command=python(SLEEP_FOREVER))
        async with Supervisor([bad, good], os.environ, tmp_path) as running:
            await running.all_ready()

    with pytest.raises(PartError, match=r"bad does not start \(exit code 3, 3 attempts\): no such jar"):
        asyncio.run(scenario())
    assert sessions.recorded(tmp_path / "run") == []


def test_a_preparation_that_hangs_is_ended_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF_FIRST_S", 0.01)

    async def scenario() -> None:
        hanging = Part(name="migrate", command=python(SLEEP_FOREVER), runs_once=True, ready_within_s=0.2)
        async with Supervisor([hanging], os.environ, tmp_path) as running:
            await running.all_ready()

    with pytest.raises(PartError, match=r"migrate does not start \(not done after 0.2 s, 3 attempts\)"):
        asyncio.run(scenario())


def test_a_probe_that_breaks_ends_the_whole_instead_of_leaving_a_part_unkept(tmp_path: Path) -> None:
    def broken() -> bool:
        raise KeyError("health")

    async def scenario() -> None:
        async with Supervisor(
            [Part(name="server", command=python(SLEEP_FOREVER), ready=broken)], os.environ, tmp_path
        ) as running:
            await running.all_ready()

    with pytest.raises(KeyError, match="health"):
        asyncio.run(scenario())
    assert sessions.recorded(tmp_path / "run") == []


def test_a_killed_guardian_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "HOUSEKEEPING_EVERY_S", 0.05)

    def guardians() -> set[int]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline") for pid in children}
        return {pid for pid, command in commands.items() if str(tmp_path) in command.read_text()}

    async def scenario() -> None:
        async with Supervisor([], os.environ, tmp_path):
            await until(lambda: bool(guardians()))
            (first,) = guardians()
            os.kill(first, signal.SIGKILL)
            await until(lambda: bool(guardians() - {first}))

    asyncio.run(scenario())
    assert guardians() == set()


def test_a_part_whose_program_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF_FIRST_S", 0.01)

    async def scenario() -> None:
        async with Supervisor([Part(name="kafka", command=("/no/java",))], os.environ, tmp_path) as running:
            await running.all_ready()

    with pytest.raises(PartError, match=r"kafka does not start .*No such file or directory: '/no/java'"):
        asyncio.run(scenario())


def test_a_lost_state_directory_does_not_end_the_supervision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "BACK_OFF_FIRST_S", 0.05)
    state_path, starts = tmp_path / "state", tmp_path / "starts"

    async def scenario() -> None:
        parts = [Part(name="worker", command=python(touching(starts)), ready=written(starts))]
        async with Supervisor(parts, os.environ, state_path) as running:
            await running.all_ready()
            shutil.rmtree(state_path)
            os.kill(running.states["worker"].pid, signal.SIGKILL)
            await until(lambda: running.states["worker"].restarts >= 2)
            (state_path / "logs").mkdir(parents=True)
            await until(lambda: len(starts.read_text().split()) == 2)

    asyncio.run(scenario())


def test_a_part_is_ended_with_its_grandchildren_even_those_of_another_group(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, sys, subprocess\n"
        f"deaf = [sys.executable, '-S', '-c', {DEAF!r}]\n"
        "plain, grouped = subprocess.Popen(deaf), subprocess.Popen(deaf, process_group=0)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{plain.pid}} {{grouped.pid}}')\n"
    ) + SLEEP_FOREVER

    async def scenario() -> list[int]:
        parts = [Part(name="tree", command=python(code), ready=written(pids))]
        async with Supervisor(parts, os.environ, tmp_path) as running:
            await running.all_ready()
            found = [int(pid) for pid in pids.read_text().split()]
            assert all(lives(pid) for pid in found)
            # the children of a part that died alone go before it is started again
            os.kill(found[0], signal.SIGKILL)
            await until(lambda: not any(lives(pid) for pid in found))
            await until(lambda: running.states["tree"].state == "running")
            await until(
                lambda: pids.read_text().split()[0] != str(found[0]) and len(pids.read_text().split()) == 3
            )
            return [int(pid) for pid in pids.read_text().split()]

    assert [lives(pid) for pid in asyncio.run(scenario())] == [False, False, False]


def test_a_deaf_part_is_killed_after_its_limit(tmp_path: Path) -> None:
    async def scenario() -> int:
        parts = [Part(name="deaf", command=python(DEAF), stop_within_s=0.3)]
        async with Supervisor(parts, os.environ, tmp_path) as running:
            await running.all_ready()
            return running.states["deaf"].pid

    assert not lives(asyncio.run(scenario()))


def test_a_taken_port_is_refused_with_its_number_setting_and_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        async def scenario() -> None:
            parts = [Part(name="kafka", command=python(SLEEP_FOREVER), ports={"kafka_port": port})]
            async with Supervisor(parts, os.environ, tmp_path):
                pytest.fail("started on a taken port")

        with pytest.raises(PartError) as refusal:
            asyncio.run(scenario())
    assert str(port) in str(refusal.value)
    assert "ETL_KAFKA_PORT" in str(refusal.value)
    assert f"(pid {os.getpid()})" in str(refusal.value)


def test_a_second_supervisor_on_the_same_state_is_refused_in_one_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Supervisor([], os.environ, tmp_path):
            with pytest.raises(PartError, match=rf"in use by `etl up` \(pid {os.getpid()}\)"):
                async with Supervisor([], os.environ, tmp_path):
                    pytest.fail("started twice")

    asyncio.run(scenario())
    asyncio.run(_start_and_stop(tmp_path))


async def _start_and_stop(state_path: Path) -> None:
    async with Supervisor([], os.environ, state_path) as running:
        await running.all_ready()


SUPERVISOR_PROGRAM = """
import asyncio, os, sys
from pathlib import Path
from etl.embedded.part import Part
from etl.embedded.supervisor import Supervisor

async def main():
    state_path, code = Path(sys.argv[1]), sys.argv[2]
    parts = [Part(name="tree", command=(sys.executable, "-S", "-c", code), stop_within_s=0.5)]
    async with Supervisor(parts, os.environ, state_path) as running:
        await running.failed()

asyncio.run(main())
"""


def _supervised_tree(tmp_path: Path) -> tuple[subprocess.Popen[bytes], list[int]]:
    """A supervisor in a process of its own, and the pids of its part and of the part's deaf child."""
    pids = tmp_path / "pids"
    code = (
        "import os, sys, subprocess\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {DEAF!r}], process_group=0)\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
    ) + SLEEP_FOREVER
    running = subprocess.Popen([sys.executable, "-c", SUPERVISOR_PROGRAM, str(tmp_path), code])
    until_now(lambda: written(pids)() and len(pids.read_text().split()) == 2)
    return running, [int(pid) for pid in pids.read_text().split()]


def test_nothing_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    running, tree = _supervised_tree(tmp_path)
    running.kill()
    running.wait()
    until_now(lambda: not any(lives(pid) for pid in tree))


def test_the_next_start_sweeps_what_supervisor_and_guardian_left(tmp_path: Path) -> None:
    running, tree = _supervised_tree(tmp_path)
    (guardian,) = (
        pid
        for pid in map(int, Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split())
        if b"guardian" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(guardian, signal.SIGKILL)
    running.kill()
    running.wait()
    assert all(lives(pid) for pid in tree)
    asyncio.run(_start_and_stop(tmp_path))
    assert not any(lives(pid) for pid in tree)


def test_a_record_whose_number_was_given_to_another_process_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(python(SLEEP_FOREVER), start_new_session=True) as innocent:
        ours = sessions.session_of("old", innocent.pid)
        earlier = sessions.Session(ours.part, ours.leader, ours.start_ticks - 1, ours.boot_id)
        another_boot = sessions.Session("older", ours.leader, ours.start_ticks, "00000000")
        for record in (earlier, another_boot):
            sessions.record(tmp_path, record)
        assert sessions.sweep(tmp_path, stop_within_s=1.0) == []
        assert innocent.poll() is None
        assert sessions.recorded(tmp_path) == []
        innocent.kill()


def test_a_log_that_grows_too_long_is_kept_once_and_begun_again(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_bytes(b"x" * 100)
    bound_log(log, bytes_max=100)
    assert log.stat().st_size == 100
    log.write_bytes(b"y" * 101)
    bound_log(log, bytes_max=100)
    assert log.stat().st_size == 0
    assert (tmp_path / "part.log.1").read_bytes() == b"y" * 101


def test_the_status_names_every_part_while_running_and_nothing_after(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    listening = f"import socket; s = socket.create_server(('127.0.0.1', {port}))\n" + SLEEP_FOREVER

    async def scenario() -> None:
        part = Part(
            name="server", command=python(listening), ready=tcp_ready("127.0.0.1", port), metrics_port=9401
        )
        async with Supervisor([part], os.environ, tmp_path) as running:
            await running.all_ready()
            (state,) = read_status(tmp_path).parts
            assert (state.name, state.state, state.metrics_port) == ("server", "running", 9401)

    asyncio.run(scenario())
    with pytest.raises(PartError, match="nothing runs on"):
        read_status(tmp_path)
