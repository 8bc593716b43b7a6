"""Checks the dashboards against Grafana's schema, and the provisioning files against Grafana's documentation.

Grafana publishes models of its dashboards for several languages. This script reads each dashboard into the Python models
and writes it back. Fields that the schema does not know are lost on the way, and the script reports them. For provisioning
files Grafana publishes no schema: their keys are held to the lists of its documentation, and what they refer to must exist.

    python3 -m venv VENV
    VENV/bin/pip install 'grafana-foundation-sdk==1769699379!11.6.0' 'pyyaml==6.0.3'
    VENV/bin/python config/grafana/check.py
"""

import json
import sys
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# Fields of annotations that the Prometheus data source defines in addition to the schema.
BESIDE_THE_SCHEMA = ("step", "titleFormat", "tagKeys")

# Keys of an entry, with the type of their value (Grafana's documentation, "Provision Grafana", of 2026-11).
DATA_SOURCE = {
    "name": str, "type": str, "access": str, "orgId": int, "uid": str, "url": str, "user": str, "database": str,
    "basicAuth": bool, "basicAuthUser": str, "withCredentials": bool, "isDefault": bool, "jsonData": dict,
    "secureJsonData": dict, "version": int, "editable": bool, "readOnly": bool,
}  # fmt: skip
PROVIDER = {
    "name": str, "orgId": int, "folder": str, "folderUid": str, "type": str, "disableDeletion": bool,
    "updateIntervalSeconds": int, "allowUiUpdates": bool, "editable": bool, "options": dict,
}  # fmt: skip
# Keys of jsonData for Prometheus.
JSON_DATA = {"timeInterval", "queryTimeout", "httpMethod", "manageAlerts", "prometheusType", "prometheusVersion", "cacheLevel"}


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


def entries(folder, name, key, known):
    """The entries of a provisioning file, and what is wrong with it."""
    content = yaml.safe_load((folder / "provisioning" / name).read_text())
    found = [f"{name}: {other} is unknown" for other in content.keys() - {"apiVersion", key}]
    if content.get("apiVersion") != 1:
        found.append(f"{name}: apiVersion is not 1")
    for entry in content[key]:
        for option, value in entry.items():
            if type(value) is not known.get(option):
                found.append(f"{name}: {option}: {value!r}")
    return content[key], found


def provisioning(folder, wanted):
    """What is wrong with the provisioning files; `wanted` are the types of the data sources that the dashboards offer."""
    sources, found = entries(folder, "datasources/prometheus.yml", "datasources", DATA_SOURCE)
    providers, others = entries(folder, "dashboards/namegate.yml", "providers", PROVIDER)
    found += others
    found += [f"no data source is a {type}" for type in wanted - {source.get("type") for source in sources}]
    compose = yaml.safe_load((folder.parent.parent / "docker-compose.yml").read_text())["services"]
    mounts = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"])
    for source in sources:
        found += [f"jsonData.{key} is unknown" for key in source.get("jsonData", {}).keys() - JSON_DATA]
        host = source["url"].removeprefix("http://").split(":")[0]
        if host not in compose:
            found.append(f"{source['url']} is no service of docker-compose.yml")
    for provider in providers:
        if mounts.get("./config/grafana/dashboards") != provider["options"]["path"]:
            found.append(f"docker-compose.yml mounts nothing at {provider['options']['path']}")
    if mounts.get("./config/grafana/provisioning") != "/etc/grafana/provisioning":
        found.append("docker-compose.yml does not mount the provisioning files")
    return found


def main():
    plugins.register_default_plugins()
    faults, wanted, folder = 0, set(), Path(__file__).parent
    for path in sorted(folder.glob("dashboards/*.json")):
        own = json.loads(path.read_text())
        wanted |= {each["query"] for each in own["templating"]["list"] if each["type"] == "datasource"}
        known = json.loads(json.dumps(Dashboard.from_json(own), cls=JSONEncoder))
        found = list(differences(own, known))
        faults += len(found)
        count = sum(1 + len(panel.get("panels", [])) for panel in own["panels"])
        print(f"{path.name}: {count} rows and panels, {len(found)} faults", *found, sep="\n  ")
    found = provisioning(folder, wanted)
    print(f"provisioning: {len(found)} faults", *found, sep="\n  ")
    return 1 if faults or found else 0


if __name__ == "__main__":
    sys.exit(main())
