"""The one command line. A command's module is loaded only when that command runs, so ``etl`` starts at once."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click
import typer

import etl.commands
from etl.errors import EtlError

_NAMES = tuple(sorted(module.name for module in pkgutil.iter_modules(etl.commands.__path__)))


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in _NAMES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = cmd_name.replace("-", "_")
        if name not in _NAMES:
            return None
        module = importlib.import_module(f"etl.commands.{name}")
        return typer.main.get_command(module.app)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="etl", prog_name="etl")
def cli() -> None:
    """Market data from exchanges into queryable stores, continuously and without silent loss."""


def main() -> None:
    try:
        cli.main(prog_name="etl", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except EtlError as error:
        print(f"etl: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
