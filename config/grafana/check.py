"""Checks the dashboards against Grafana's schema.

Grafana publishes models of its dashboards for several languages. This script reads each dashboard into the Python models
and writes it back. Fields that the schema does not know are lost on the way, and the script reports them.

    python3 -m venv VENV
    VENV/bin/pip install 'grafana-foundation-sdk==1769699379!11.6.0'
    VENV/bin/python config/grafana/check.py
"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# Fields of annotations that the Prometheus data source defines in addition to the schema.
BESIDE_THE_SCHEMA = ("step", "titleFormat", "tagKeys")


def differences(own, known, path=""):
    """Yields every path where `known` lacks a value of `own` or has a different one."""
    if isinstance(own, dict) and isinstance(known, dict):
        for key, value in own.items():
            if key in known:
                yield from differences(value, known[key], f"{path}/{key}")
            elif not (path.startswith("/annotations/") and key in BESIDE_THE_SCHEMA):
                yield f"{path}/{key} is not in the schema"
    elif isinstance(own, list) and isinstance(known, list) and len(own) == len(known):
        for index, (value, other) in enumerate(zip(own, known)):
            yield from differences(value, other, f"{path}/{index}")
    elif own != known:
        yield f"{path}: {own!r} becomes {known!r}"


def main():
    plugins.register_default_plugins()
    faults = 0
    for path in sorted(Path(__file__).parent.glob("dashboards/*.json")):
        own = json.loads(path.read_text())
        known = json.loads(json.dumps(Dashboard.from_json(own), cls=JSONEncoder))
        found = list(differences(own, known))
        faults += len(found)
        count = sum(1 + len(panel.get("panels", [])) for panel in own["panels"])
        print(f"{path.name}: {count} rows and panels, {len(found)} faults", *found, sep="\n  ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
