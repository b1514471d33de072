"""``python -m tests.support.dag_runs '[[DAG, CONF], …]'``: a run of each DAG in one process of Airflow, one after the
other; prints whether each succeeded."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def state(dag_id: str, conf: dict[str, Any]) -> str:
    from airflow.dag_processing.dagbag import DagBag

    bag: Any = DagBag(dag_folder=str(ROOT / "dags" / f"{dag_id}.py"))
    dag = bag.dags[dag_id]
    dag.deadline = []  # Airflow 3.3.2 cannot test a DAG that has one: it reads its row by a dict
    return str(dag.test(run_conf=conf).state)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "plugins"))
    print(json.dumps({dag_id: state(dag_id, conf) for dag_id, conf in json.loads(sys.argv[1])}))
