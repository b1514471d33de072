#!/bin/bash
# Runs an image that docker/build.sh made, and says how large it is: check_image.sh worker|airflow|demo
set -o errexit -o nounset -o pipefail

target=$1
container=$(buildah from --pull-never "localhost/etl-$target")
trap 'buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")

inside() { buildah run --isolation chroot "$container" -- "$@"; }

[ "$(inside id -u)" = 1000 ]
inside python -m etl --help >/dev/null
inside python -c 'import etl.express._decimals, etl.express._decode, etl.express._encode, etl.express._step'
if inside python -c 'import pytest' 2>/dev/null; then echo "$target: has pytest" >&2; exit 1; fi

case $target in
worker)
  buildah inspect --type image --format '{{.Docker.Config.Healthcheck}}' "localhost/etl-$target" | grep --quiet etl.telemetry.alive
  if inside python -c 'import chdb' 2>/dev/null; then echo 'worker: has a server' >&2; exit 1; fi
  # a worker against the simulator: what it received is on the topics of a Valkey outside of the container
  state=$(mktemp --directory)
  ETL_STATE_DIR=$state ETL_REDIS_PORT=16379 .venv/bin/python -m etl.embedded.valkey >/dev/null 2>&1 &
  valkey=$!
  until (: </dev/tcp/127.0.0.1/16379) 2>/dev/null; do
    kill -0 $valkey || { echo 'worker: no Valkey; the check starts one from .venv (make setup)' >&2; exit 1; }
    sleep 0.2
  done
  inside timeout 120 sh -e -c '
    export ETL_STATE_DIR=/tmp/state ETL_VENUES=binance ETL_SIMULATOR_PORT=19500 ETL_METRICS_PORT=19400
    export ETL_TRANSPORT_URL=redis://127.0.0.1:16379
    until python -m etl topics >/dev/null 2>&1; do sleep 1; done
    ETL_METRICS_PORT=0 python -m etl simulate binance --port 19500 --rate 20 >/dev/null 2>&1 &
    simulator=$!
    python -m etl stream binance >/tmp/worker.log 2>&1 &
    worker=$!
    until python -m etl.telemetry.alive && python -c "
import re, sys, urllib.request
text = urllib.request.urlopen(\"http://127.0.0.1:19400/metrics\").read().decode()
counts = re.findall(r\"^etl_events_total\\S+ ([0-9.e+]+)\", text, re.M)
print(\"worker: events\", sum(map(float, counts)))
sys.exit(not sum(map(float, counts)))"; do sleep 1; done
    grep --quiet "check, continuity and encoding are compiled" /tmp/worker.log
    kill $worker $simulator'
  kill $valkey
  rm -r "$state"
  ;;
airflow)
  inside sh -c 'export AIRFLOW_HOME=/tmp/airflow AIRFLOW_CONFIG=/app/airflow.cfg PYTHONPATH=/app/plugins
    export AIRFLOW__CORE__DAGS_FOLDER=/app/dags AIRFLOW__CORE__PLUGINS_FOLDER=/app/plugins
    python -c "
from pathlib import Path
from airflow.dag_processing.dagbag import DagBag
bags = [DagBag(dag_folder=str(path)) for path in sorted(Path(\"/app/dags\").glob(\"*.py\"))]
errors = {name: text for bag in bags for name, text in bag.import_errors.items()}
print(\"airflow: DAGs\", sum(len(bag.dags) for bag in bags), errors or \"all imported\")
raise SystemExit(bool(errors))"'
  ;;
demo)
  inside timeout 300 python -m etl up --profile light --no-airflow --venues binance --rate 50 --duration 10
  ;;
esac
echo "$target: $(du --summarize --bytes "$root" | awk '{ printf "%d MB", $1 / 1e6 }')"
