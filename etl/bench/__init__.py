"""``etl bench NAME`` runs ``etl/bench/NAME.py``: each starts what it measures, on free ports, and stops it.

A bench module has ``app`` (a ``typer.Typer``); it prints what it does to standard error and one JSON object as the
last line of standard output (``report.py``).
"""
