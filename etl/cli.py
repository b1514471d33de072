"""The one command line. A command's module is loaded only when that command runs, so ``etl`` starts at once."""

from __future__ import annotations

import os
import sys

import typer

import etl
import etl.commands
from etl.errors import EtlError
from etl.lazy import lazy_group

app = typer.Typer(
    cls=lazy_group(etl.commands),
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"etl {etl.__version__}")
        raise typer.Exit


@app.callback()
def cli(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_print_version),
) -> None:
    """Market data from exchanges into queryable stores, continuously and without silent loss."""


def main() -> None:
    """Run; an ``EtlError`` is one line on standard error and its exit code."""
    os.umask(0o077)  # state, logs and what they hold are the user's own
    try:
        app()
    except EtlError as error:
        print(f"etl: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (etl … | head): end quietly, also at the interpreter's last flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
