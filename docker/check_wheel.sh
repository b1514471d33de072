#!/bin/bash
# The wheel as a user gets it: built, then installed into new environments with what the index of this machine has.
#   make release-check
set -o errexit -o nounset -o pipefail

uv=$(realpath "$1")
folder=$(mktemp --directory)
trap 'rm -rf "$folder"' EXIT

git archive HEAD | tar --extract --directory "$folder" --one-top-level=source
"$uv" build --quiet --wheel --out-dir "$folder" "$folder/source"
wheel=$(realpath "$folder"/*.whl)
cd "$folder"

echo 'base: etl parse, and the client'
"$uv" venv --quiet --python 3.11 base
"$uv" pip install --quiet --python base/bin/python "$wheel"
du --summarize --human-readable base
base/bin/etl --version
echo '{"stream":"bnbbtc@trade","data":{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}}' \
  | base/bin/etl parse binance | grep --quiet '"symbol":"BNB-BTC"'
base/bin/python -c 'import sys, etl.client; assert not {"confluent_kafka", "airflow"} & set(sys.modules)'

echo 'embedded: etl up, which has neither jars, nor TimescaleDB, nor Airflow'
"$uv" venv --quiet --python 3.11 embedded
"$uv" pip install --quiet --python embedded/bin/python "etl[embedded] @ file://$wheel"
du --summarize --human-readable embedded
embedded/bin/python -c 'import etl.express._decimals, etl.express._decode, etl.express._encode, etl.express._step'
# the cache of this user may have jars
HOME=$folder embedded/bin/etl up --venues binance --rate 50 --duration 10 \
  --state "$folder/state" --report "$folder/report.json" | tee up.log
grep --quiet '^not here, .* so --profile light, topics in Valkey$' up.log
grep --quiet '^Airflow is not installed' up.log
echo 'the wheel is sound'
