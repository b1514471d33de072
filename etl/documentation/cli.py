"""The command line, from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from typer._click import Context

from etl.cli import app
from etl.documentation.tables import table

_HEAD = """\
# Command line

{made}

`etl NAME` is `etl/commands/NAME.py`. Every command takes `--help`. An error is one line on standard error;
[errors.md](errors.md) has the exit codes. Settings come from the environment ([settings.md](../settings.md)); an option
goes before the setting that it stands for.
"""


def page(made: str) -> str:
    root = typer.main.get_command(app)
    parts = [_HEAD.format(made=made)]
    with Context(root, info_name="etl") as context:
        for name, command in sorted(_commands(root, context, "etl")):
            parts += _section(name, command, context)
    return "\n".join(parts).rstrip() + "\n"


def _commands(command: Any, context: Context, name: str) -> Iterator[tuple[str, Any]]:
    """Those that can be run, with what they are called by. A group of one is itself the command."""
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    for each in command.list_commands(context):
        inner = command.get_command(context, each)
        if inner is not None:
            yield from _commands(inner, context, f"{name} {each}")


def _section(name: str, command: Any, context: Context) -> list[str]:
    parameters = [
        each for each in command.params if not getattr(each, "hidden", False) and each.name != "help"
    ]
    arguments = [each for each in parameters if each.param_type_name == "argument"]
    options = [each for each in parameters if each.param_type_name == "option"]
    words = [_word(each) for each in arguments]
    lines = [f"## {name}", "", f"    {' '.join([name, *words, *(['[OPTIONS]'] if options else [])])}", ""]
    lines += [*_text(command.help), ""]
    if arguments:
        lines += [
            *table(
                ("argument", ""),
                [(f"`{_word(a)}`", getattr(a, "help", "") or "") for a in arguments],
            ),
            "",
        ]
    if options:
        lines += [*table(("option", "default", ""), [_option(each, context) for each in options]), ""]
    return lines


def _word(argument: Any) -> str:
    word = argument.name.upper().replace("_", "-") + ("..." if argument.nargs != 1 else "")
    return word if argument.required else f"[{word}]"


def _option(option: Any, context: Context) -> tuple[str, str, str]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    default = option.default
    is_plain = isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    shown = getattr(default, "value", default) if is_plain or hasattr(default, "value") else ""
    return names, f"`{shown}`" if shown != "" else "", option.help or ""


def _text(help_text: str | None) -> list[str]:
    return [line.rstrip() for line in (help_text or "").strip().splitlines()]
