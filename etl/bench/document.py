"""``etl bench document [NAME …]``: run the benchmarks, keep what each printed, and write docs/benchmarks.md from it.

Each runs with the options of ``STANDARD``, ``--times`` times; what it printed is kept in docs/benchmarks/NAME.json, so
that one that was not run again stays in the document, with its date. ``--beside`` keeps the older results as well,
``--render-only`` runs nothing. Figures that the platform's estimates go by are told them in the same step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct

from etl.bench.report import say
from etl.bench.standard import STANDARD, Figure
from etl.errors import EtlError, UsageError
from etl.resources import IMPORT_ROOT

app = typer.Typer()

FOLDER = IMPORT_ROOT / "docs" / "benchmarks"
DOCUMENT = IMPORT_ROOT / "docs" / "benchmarks.md"
RUN_WITHIN_S = 3 * 3_600.0
NOT_KEPT = ("done",)
"""What a result has of each act of a run: the seed gives it again."""


class Kept(Struct, frozen=True):
    """What a benchmark printed, the oldest run first."""

    command: str
    results: tuple[dict[str, Any], ...]


@app.command()
def main(
    names: Annotated[list[str] | None, typer.Argument(help="Default: all of them.")] = None,
    recordings: Annotated[
        Path | None, typer.Option(help="Folder of recordings, for those that take one.")
    ] = None,
    times: Annotated[int, typer.Option(min=1, help="Runs of each.")] = 1,
    beside: Annotated[bool, typer.Option("--beside", help="Keep the older results too.")] = False,
    render_only: Annotated[bool, typer.Option("--render-only")] = False,
) -> None:
    wanted = names or list(STANDARD)
    if unknown := [name for name in wanted if name not in STANDARD]:
        raise UsageError(f"no benchmark {', '.join(unknown)}; known are {', '.join(STANDARD)}")
    FOLDER.mkdir(exist_ok=True)
    for name in () if render_only else wanted:
        words = command(name, recordings)
        results = list(kept()[name].results) if beside and name in kept() else []
        for _ in range(times):
            say(f"== {name}")
            results.append(_run(words))  # kept at once: the next one may take an hour, and fail
            _keep(name, Kept(shown(words), tuple(results)))
    DOCUMENT.write_text(rendered(kept()))
    for path, text in told(kept()).items():
        path.write_text(text)


def command(name: str, recordings: Path | None = None) -> list[str]:
    """The words after ``etl bench``."""
    standard = STANDARD[name]
    given = ["--recordings", str(recordings)] if recordings and standard.takes_recordings else []
    return [name, *standard.options, *given, "--json"]


def shown(words: Sequence[str]) -> str:
    """As a reader would type it: the folder of recordings is their own."""
    names = [
        "DIR" if before == "--recordings" else word for before, word in zip(["", *words], words, strict=False)
    ]
    return " ".join(["etl bench", *names])


def kept() -> dict[str, Kept]:
    """The results of each, as far as there are any."""
    files = {name: FOLDER / f"{name}.json" for name in STANDARD}
    return {name: msgspec.json.decode(f.read_bytes(), type=Kept) for name, f in files.items() if f.exists()}


def _keep(name: str, kept: Kept) -> None:
    results = tuple(
        {key: value for key, value in each.items() if key not in NOT_KEPT} for each in kept.results
    )
    text = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(kept, results=results)), indent=1)
    (FOLDER / f"{name}.json").write_bytes(text + b"\n")


def told(kept: Mapping[str, Kept]) -> dict[Path, str]:
    """The files of figures that estimates go by, from the last results."""
    return {
        path: json.dumps({name: of_it.results[-1][name] for name in STANDARD[bench].told_names}, indent=1)
        + "\n"
        for bench, of_it in kept.items()
        if (path := STANDARD[bench].told) is not None
    }


def rendered(kept: Mapping[str, Kept]) -> str:
    """The document."""
    return (
        "\n".join((*_head(), *(line for name, of_it in kept.items() for line in _section(name, of_it))))
        + "\n"
    )


def _head() -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "Written by `etl bench document`, not by hand. Each benchmark starts what it measures on free ports of one"
    yield "machine and prints one JSON object as its last line; `docs/benchmarks/` has these objects whole. Of what a"
    yield "command measures several times the median stands here, with the least and the greatest behind it; a command"
    yield "that was run several times has a column for each run. Goals are for two shared cores."


def _section(name: str, kept: Kept) -> Iterator[str]:
    machine = kept.results[-1]["machine"]
    loads = [str(result["machine"]["load"]) for result in kept.results if "load" in result["machine"]]
    yield ""
    yield f"## {name}"
    yield ""
    yield (
        f"`{kept.command}` on {machine['date']}: {machine['cores']} cores ({machine['processor']}),"
        f" {machine['memory_gib']} GiB, Python {machine['python']}"
        + (f"; load average {' / '.join(loads)}" if loads else "")
    )
    yield ""
    runs = [f"run {number}" for number, _ in enumerate(kept.results, 1)]
    yield " | ".join(("| ", *(runs if len(runs) > 1 else ["measured"]), "goal |"))
    yield "|---" * (len(runs) + 2) + "|"
    for figure in STANDARD[name].figures:
        measured = [_measured(result, figure) for result in kept.results]
        if any(measured):
            yield " | ".join((f"| {figure.label}", *measured, f"{figure.goal} |"))


def _measured(result: Mapping[str, Any], figure: Figure) -> str:
    values = [_at(result, path) for path in figure.paths]
    return "" if all(value is None for value in values) else " / ".join(map(_text, values))


def _at(result: Mapping[str, Any], path: str) -> Any:
    value: Any = result
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{_text(value['median'])} ({_text(value['min'])} to {_text(value['max'])})"
    if isinstance(value, float) and value.is_integer() and abs(value) >= 1_000:
        value = int(value)
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _run(words: Sequence[str]) -> dict[str, Any]:
    """The object that the benchmark printed. Raises ``EtlError``."""
    done = subprocess.run(
        [sys.executable, "-m", "etl", "bench", *words],
        stdout=subprocess.PIPE,
        text=True,
        timeout=RUN_WITHIN_S,
    )
    lines = done.stdout.strip().splitlines()
    if not lines:
        raise EtlError(f"etl bench {words[0]} ended with {done.returncode} and printed nothing")
    result: dict[str, Any] = json.loads(lines[-1])
    return result
