"""Holds the dashboard against Grafana's own schema.

Grafana publishes models of its dashboards for several languages. Here each dashboard is read into the Python models and
written back: what the schema does not know is gone then, and is reported.

    python3 -m venv VENV
    VENV/bin/pip install 'grafana-foundation-sdk==1769699379!11.6.0'
    VENV/bin/python config/grafana/check_dashboard.py
"""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# The Prometheus data source keeps these beside what the schema has for annotations.
BESIDE_THE_SCHEMA = ("step", "titleFormat", "tagKeys")


def differences(own, known, path=""):
    """Yields every place of `own` that `known` lacks or has otherwise."""
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
        yield f"{path}: {own!r} is {known!r} by the schema"


def main():
    plugins.register_default_plugins()
    faults = 0
    for path in sorted(Path(__file__).parent.glob("dashboards/*.json")):
        own = json.loads(path.read_text())
        known = json.loads(json.dumps(Dashboard.from_json(own), cls=JSONEncoder))
        found = list(differences(own, known))
        faults += len(found)
        print(f"{path.name}: {len(own['panels'])} panels, {len(found)} faults", *found, sep="\n  ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
