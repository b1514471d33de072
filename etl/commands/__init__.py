"""One file a command: ``etl NAME`` loads ``etl/commands/NAME.py`` and runs its ``app`` (a ``typer.Typer``)."""
