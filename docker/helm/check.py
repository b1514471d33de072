"""Render the chart as Helm does, in every form of its values, and hold each object against Kubernetes' own schemas.

    make chart        (needs helm-python-sdk and kubernetes-validate, 350 MB, in an environment of their own)

Nothing is asked of a cluster. An object of an operator (KEDA's) has no schema there and is only rendered.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import yaml

CHART = Path(__file__).with_name("etl")
VERSIONS = ("1.29", "1.33")
FOREIGN = ("keda.sh/v1alpha1",)
FORMS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "three venues, sharded": {
        "workers": {"binance": {"shards": 3, "symbols": "BTCUSDT,ETHUSDT"}, "alpaca_boats": {"shards": 1}}
    },
    "sinks scaled by HPA": {"sink": {"scaling": {"kind": "hpa"}}},
    "sinks scaled by KEDA": {"sink": {"scaling": {"kind": "keda"}}},
    "beside Airflow": {"schedule": {"enabled": False}, "airflow": {"bootstrap": True}},
    "gateway with TLS": {"gateway": {"tlsSecret": "tls", "tokensSecret": "tokens"}},
    "the least": {"gateway": {"enabled": False}, "networkPolicy": {"enabled": False}},
    "registry, nodes": {
        "image": {"registry": "registry.example", "pullSecrets": ["pull"]},
        "nodeSelector": {"pool": "market"},
        "tolerations": [{"key": "market", "operator": "Exists"}],
    },
}
REFUSED: dict[str, dict[str, Any]] = {
    "a password among the settings": {
        "settings": {"ETL_CLICKHOUSE_URL": "http://etl:x@clickhouse:8123/market"}
    },
    "no shard": {"workers": {"binance": {"shards": 0}}},
    "an unknown value": {"wokers": {}},
}


def objects(chart: helm_python.Chart, values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rendered = chart.render(values, name="market", namespace="etl")
    for text in rendered.values():
        yield from filter(None, yaml.safe_load_all(text))


def faults(item: dict[str, Any]) -> Iterator[str]:
    """What the schemas refuse, and what they let through and we do not."""
    named = f"{item['kind']} {item['metadata']['name']}"
    if item["apiVersion"] not in FOREIGN:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{named}: {version}: {error.message}"
    template = item.get("spec", {}).get("template")
    for container in template["spec"]["containers"] if template else ():
        if not {"requests", "limits"} <= container["resources"].keys():
            yield f"{named}: no resources"
        if not container["securityContext"]["readOnlyRootFilesystem"]:
            yield f"{named}: its root file system can be written"
        if (
            item["kind"] != "Job"
            and item["metadata"]["name"] != "market-schedule"
            and "livenessProbe" not in container
        ):
            yield f"{named}: no probe"


def main() -> int:
    report = helm_python.lint(CHART, strict=True, kube_version=f"v{VERSIONS[-1]}.0")
    found = [f"lint: {message['error']}" for message in report["messages"] if message["severity"] > 1]
    chart = helm_python.Chart.load(CHART)
    for form, values in FORMS.items():
        made = list(objects(chart, values))
        names = [(item["kind"], item["metadata"]["name"]) for item in made]
        if len(names) != len(set(names)):
            found.append(f"{form}: two objects of one name")
        found += [f"{form}: {fault}" for item in made for fault in faults(item)]
        print(f"{form}: {len(made)} objects")
    for form, values in REFUSED.items():
        try:
            chart.validate_schema(values)
            found.append(f"{form}: was taken")
        except helm_python.HelmError:
            print(f"{form}: refused")
    print("\n".join(found) or "the chart is sound")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
