"""A command group whose members are the modules of a package, each loaded only when it runs."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup


def lazy_group(package: ModuleType, without: tuple[str, ...] = ()) -> type[TyperGroup]:
    """A ``TyperGroup`` of every module in ``package`` that is not in ``without``; each has an ``app``."""
    modules = (module.name for module in pkgutil.iter_modules(package.__path__) if not module.ispkg)
    names = sorted(set(modules) - set(without))

    class LazyGroup(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return [name.replace("_", "-") for name in names]

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            name = cmd_name.replace("-", "_")
            if name not in names:
                return None
            module = importlib.import_module(f"{package.__name__}.{name}")
            module.app._add_completion = False  # the options of completion belong to no subcommand
            command = typer.main.get_command(module.app)
            command.name = cmd_name
            return command

    return LazyGroup
