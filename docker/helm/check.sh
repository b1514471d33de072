#!/bin/bash
# Installs what the chart's check needs into .cache/chart, once, and runs it: make chart
set -o errexit -o nounset -o pipefail

cd "$(dirname "$0")/../.."
if ! [ -x .cache/chart/bin/kubernetes-validate ]; then
  .venv/bin/uv venv --quiet --clear --python .venv/bin/python .cache/chart
  .venv/bin/uv pip install --quiet --python .cache/chart/bin/python helm-python-sdk==0.2.2 kubernetes-validate==1.37.0
fi
.cache/chart/bin/python docker/helm/check.py
