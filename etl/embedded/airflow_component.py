"""``python -m etl.embedded.airflow_component scheduler …``: the command ``airflow``, with a slower garbage collector.

A component of Airflow makes a million objects that stay while it imports and builds its routes, and Python looks
through them again for every 700 that are new. At every 10,000, the API server's start takes 5.6 s of CPU instead of
7.7, in as much memory: nearly nothing of it is ever garbage. Tasks are forked from the scheduler and have it too.
"""

from __future__ import annotations

import gc
import runpy

NEW_OBJECTS_MAX, YOUNG_MAX, MIDDLE_MAX = 10_000, 20, 100
"""Collections are due after so many new objects; of the next generation after so many of those."""


def main() -> None:
    gc.set_threshold(NEW_OBJECTS_MAX, YOUNG_MAX, MIDDLE_MAX)
    runpy.run_module("airflow", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
