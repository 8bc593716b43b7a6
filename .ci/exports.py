"""Validates the exports in DIRECTORY/default and DIRECTORY/strict. Each check must also reject a file with a planted fault."""

import ast
import glob
import importlib.util
import json
import logging
import re
import subprocess
import sys
import types
import warnings
import zipfile
from pathlib import Path

import jsonschema
import referencing
import yaml

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
WORK = Path(sys.argv[1])
BIN = Path(sys.executable).parent
RULE_NAME = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$"


class Invalid(Exception):
    """The export is not what its target reads."""


def require(holds, message):
    if not holds:
        raise Invalid(message)


def closed(schema):
    """The schema, with fields refused that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # What all kinds of an object have in common belongs to each kind.
    kinds, common = schema.get("oneOf"), schema.get("properties")
    if common and kinds and all("properties" in kind for kind in kinds):
        kinds = [{**kind, "properties": {**common, **kind["properties"]}} for kind in kinds]
        return closed({key: value for key, value in schema.items() if key not in ("properties", "type")} | {"oneOf": kinds})
    schema = {key: value if key in ("enum", "required") else closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and schema["properties"]:
        if not {"additionalProperties", "allOf", "oneOf"} & schema.keys():
            schema["additionalProperties"] = False
    return schema


def check(schema, value, registry=None):
    validator = jsonschema.Draft7Validator(schema, registry=registry or referencing.Registry())
    for error in validator.iter_errors(value):
        error = jsonschema.exceptions.best_match([error])
        raise Invalid(f"{error.json_path}: {error.message[:300]}")


# ARM templates

COMMON = "https://schema.management.azure.com/schemas/common/definitions.json"
EXPRESSION = {"type": "string", "pattern": r"^\[([^\[].*)?\]$"}
# Every resource of a template may have these.
RESOURCE = {"dependsOn": {"type": "array", "items": {"type": "string"}}, "tags": {"type": "object"}}


def arm(file, newest):
    path = WORK / "schemas" / file
    schema = closed(json.loads(path.read_text()))
    by_type = {}
    for definition in schema["resourceDefinitions"].values():
        definition["properties"].update({key: RESOURCE[key] for key in RESOURCE if key not in definition["properties"]})
        by_type[definition["properties"]["type"]["enum"][0].lower()] = definition
    common = {"definitions": {"expression": EXPRESSION}}
    contents = lambda value: referencing.Resource.from_contents(value, referencing.jsonschema.DRAFT7)
    registry = referencing.Registry().with_resources([(COMMON, contents(common))])

    def validate(text):
        template = json.loads(text)
        for key in ("$schema", "contentVersion", "resources"):
            require(key in template, f"{key} is missing")
        seen = set()
        for resource in template["resources"]:
            kind, name = resource["type"], resource["name"]
            definition = by_type.get(kind.lower())
            require(definition is not None, f"unknown type {kind}")
            if newest is None:
                # The file has one API version; the template may use an earlier one.
                resource = {**resource, "apiVersion": definition["properties"]["apiVersion"]["enum"][0]}
            check({**definition, "definitions": schema["definitions"]}, resource, registry)
            # A child's name is computed from its parent's and its own.
            own = re.search(r"'/([^']+)'", name)
            own = own.group(1) if own else name
            if not own.startswith("["):
                check({**definition["properties"]["name"], "definitions": schema["definitions"]}, own, registry)
            require((kind, name) not in seen, f"{kind} {name} is there twice")
            seen.add((kind, name))

    return validate


def dns_policy(text):
    arm("2025-05-01_Microsoft.Network.DnsResolver.json", True)(text)
    resources = json.loads(text)["resources"]
    kinds = [resource["type"].rsplit("/", 1)[1] for resource in resources]
    require(kinds.count("virtualNetworkLinks") == 1, "one link")
    lists = {resource["name"] for resource in resources if resource["type"].endswith("dnsResolverDomainLists")}
    for resource in resources:
        for dependency in resource.get("dependsOn", []):
            if "dnsResolverDomainLists" in dependency:
                require(dependency.split("'")[3] in lists, f"{dependency} is missing")


def firewall(text):
    return arm("2025-07-01_Microsoft.Network.NRP.json", None)(text)


# Managed networks

def azure_ml(text):
    from azure.ai.ml import load_workspace

    path = WORK / "azure-ml.yml"
    path.write_text(text)
    # `az ml workspace update --name` gives the name.
    try:
        workspace = load_workspace(source=str(path), params_override=[{"name": "workspace"}])
    except Exception as error:
        raise Invalid(f"azure-ai-ml: {str(error)[:300]}") from error
    rules = workspace.managed_network.outbound_rules
    require(len(rules) > 10 and all(type(rule).__name__ == "FqdnDestination" for rule in rules), "rules")
    names(rules, [rule.name for rule in rules], [rule.destination for rule in rules])
    # The package ignores what it does not know.
    for rule in yaml.safe_load(text)["managed_network"]["outbound_rules"]:
        require(set(rule) == {"name", "type", "destination"} and rule["type"] == "fqdn", f"{rule}")
    schema = WORK / "schemas" / "2026-05-01_Microsoft.MachineLearningServices.json"
    if schema.exists():
        definitions = json.loads(schema.read_text())["resourceDefinitions"]
        name = definitions["workspaces_outboundRules"]["properties"]["name"]["oneOf"][0]
        require(name["pattern"] == RULE_NAME, f"Azure's pattern is {name['pattern']}")


def names(rules, given, destinations):
    for name in given:
        require(re.fullmatch(RULE_NAME, name), f"`{name}` does not match {RULE_NAME}")
    require(len({name.lower() for name in given}) == len(rules), "names are there twice")
    for destination in destinations:
        require(re.fullmatch(r"(\*\.)?[a-z0-9._-]+", destination), f"{destination}")


def foundry(text):
    """Azure CLI's own function, with a client that only records."""
    from azure.mgmt.cognitiveservices import models

    wheel = zipfile.ZipFile(glob.glob(str(WORK / "azure-cli" / "*.whl"))[0])
    source = wheel.read("azure/cli/command_modules/cognitiveservices/custom.py").decode()
    wanted = {"outbound_rule_bulk_set", "_build_outbound_rule", "_RULE_TYPE_MAP"}
    tree = ast.parse(source)
    is_wanted = lambda node: getattr(node, "name", None) in wanted or any(
        getattr(target, "id", None) in wanted for target in getattr(node, "targets", [])
    )
    tree.body = [node for node in tree.body if is_wanted(node)]
    require(len(tree.body) == len(wanted), "Azure CLI has other functions")
    scope = {name: getattr(models, name) for name in dir(models)}
    scope |= {"json": json, "InvalidArgumentValueError": Invalid, "_load_source_as_dict": yaml.safe_load}
    exec(compile(tree, "custom.py", "exec"), scope)
    calls = []
    client = types.SimpleNamespace(
        begin_create_or_update=lambda *call: calls.append(call) or types.SimpleNamespace(result=lambda: None)
    )
    try:
        scope["outbound_rule_bulk_set"](client, "rg", "account", text)
    except (AttributeError, TypeError) as error:
        raise Invalid(f"Azure CLI: {error}") from error
    rules = [(call[3], call[4].properties) for call in calls]
    require(len(rules) > 10 and all(rule.type == "FQDN" and rule.category == "UserDefined" for _, rule in rules), "rules")
    names(rules, [name for name, _ in rules], [rule.destination for _, rule in rules])
    known = {"name", "type", "category", "destination"}
    require(all(set(rule) == known for rule in yaml.safe_load(text)["rules"]), "fields that Azure CLI ignores")


# Kubernetes

def yaml_lint(text):
    rules = "{extends: default, rules: {line-length: disable, document-start: disable, indentation: {indent-sequences: consistent}}}"
    lint = subprocess.run([BIN / "yamllint", "--strict", "-d", rules, "-"], input=text, capture_output=True, text=True)
    require(lint.returncode == 0, f"yamllint: {lint.stdout[:300]}")


def cluster_network_policy(text):
    yaml_lint(text)
    crd = yaml.safe_load((WORK / "schemas" / "clusternetworkpolicies-experimental.yaml").read_text())
    version = crd["spec"]["versions"][0]
    schema = closed(version["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    policy = yaml.safe_load(text)
    check(schema, policy)
    require(policy["apiVersion"] == f"{crd['spec']['group']}/{version['name']}", policy["apiVersion"])
    require(policy["kind"] == crd["spec"]["names"]["kind"], policy["kind"])


# No registry has Cilium's own schema. These are the fields that the export uses, from Cilium's documentation and its
# types `Rule`, `EgressRule`, `FQDNSelector` and `PortRule`.
FQDN = {
    "type": "object",
    "properties": {
        "matchName": {"type": "string", "maxLength": 255, "pattern": r"^([-a-zA-Z0-9_]+[.]?)+$"},
        "matchPattern": {"type": "string", "maxLength": 255, "pattern": r"^(\*\*\.)?([-a-zA-Z0-9_*]+[.]?)+$"},
    },
    "minProperties": 1,
    "maxProperties": 1,
}
LABELS = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}}
SELECTOR = {
    "type": "object",
    "properties": {
        "matchLabels": LABELS,
        "matchExpressions": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["key", "operator"],
                "properties": {
                    "key": {"type": "string"},
                    "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                    "values": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    },
}
PORTS = {
    "type": "object",
    "properties": {
        "ports": {
            "type": "array",
            "maxItems": 40,
            "items": {
                "type": "object",
                "required": ["port"],
                "properties": {"port": {"type": "string"}, "protocol": {"enum": ["TCP", "UDP", "ANY"]}},
            },
        },
        "rules": {"type": "object", "properties": {"dns": {"type": "array", "items": FQDN}}},
    },
}
CILIUM = closed({
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"enum": ["cilium.io/v2"]},
        "kind": {"enum": ["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"]},
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "required": ["endpointSelector", "egress"],
            "properties": {
                "endpointSelector": SELECTOR,
                "egress": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "toEndpoints": {"type": "array", "items": SELECTOR},
                            "toEntities": {"type": "array", "items": {"enum": ["kube-apiserver"]}},
                            "toFQDNs": {"type": "array", "items": FQDN},
                            "toPorts": {"type": "array", "items": PORTS},
                        },
                    },
                },
            },
        },
    },
})


def cilium(text):
    yaml_lint(text)
    policy = yaml.safe_load(text)
    check(CILIUM, policy)
    for rule in policy["spec"]["egress"]:
        peers = [key for key in rule if key != "toPorts"]
        require(len(peers) == 1, f"one kind of peer for each rule: {peers}")


# Others

def route53(text):
    path = WORK / "route53.json"
    path.write_text(text)
    lint = subprocess.run([BIN / "cfn-lint", "--regions", "eu-west-1", "--", path], capture_output=True, text=True)
    require(lint.returncode == 0, f"cfn-lint: {lint.stdout[:600]}{lint.stderr[:300]}")


def ztdns(text):
    """Microsoft Graph's own classes: they keep fields that they do not know apart."""
    from kiota_serialization_json.json_parse_node_factory import JsonParseNodeFactory

    if "msgraph_beta" not in sys.modules:
        # Without its client, which needs more packages.
        package = types.ModuleType("msgraph_beta")
        package.__path__ = list(importlib.util.find_spec("msgraph_beta").submodule_search_locations)
        sys.modules["msgraph_beta"] = package
    from msgraph_beta.generated.models.windows_ztdns_configuration import WindowsZtdnsConfiguration

    node = JsonParseNodeFactory().get_root_parse_node("application/json", text.encode())
    profile = node.get_object_value(WindowsZtdnsConfiguration)
    parts = [profile, *profile.secure_dns_servers]
    for server in profile.secure_dns_servers:
        parts += [part for part in (server.dns_over_tls_configuration, server.dns_over_https_configuration) if part]
    require(len(parts) == 5, f"{len(parts)} parts")
    for part in parts:
        require(not part.additional_data, f"unknown fields {part.additional_data}")
    require(profile.odata_type == "#microsoft.graph.windowsZtdnsConfiguration", profile.odata_type)
    require(profile.audit_mode_enabled is False, "auditModeEnabled")


def replaced(old, new):
    def plant(text):
        require(old in text, f"{old} is not in the export")
        return text.replace(old, new, 1)

    return plant


LONG = "a" * 100
# Each target with its check, whether that needs the schemas, and faults that it must find.
TARGETS = {
    "azure-firewall": (firewall, True, {
        "an unknown field": replaced('"targetFqdns"', '"targetFqdn"'),
        "an unknown protocol": replaced('"protocolType": "Https"', '"protocolType": "Quic"'),
    }),
    "azure-dns-policy": (dns_policy, True, {
        "an unknown field": replaced('"domains"', '"domainNames"'),
        "a name of 100 characters": replaced('"name": "namegate-', f'"name": "namegate-{LONG}'),
        "a rule's name of 100 characters": replaced("'/namegate-", f"'/{LONG}"),
        "an unknown action": replaced('"actionType": "Block"', '"actionType": "Deny"'),
        "a list that is missing": replaced('"name": "namegate-allow', '"name": "other-allow'),
    }),
    "azure-ml": (azure_ml, False, {
        "a name of 40 characters": replaced("- name: ", f"- name: {LONG[:40]}"),
        "an unknown type": replaced("type: fqdn", "type: name"),
        "an unknown field": replaced("type: fqdn", "type: fqdn\n      port: 443"),
    }),
    "azure-ai-foundry": (foundry, False, {
        "a name of 40 characters": replaced("- name: ", f"- name: {LONG[:40]}"),
        "an unknown type": replaced("type: FQDN", "type: name"),
        "an unknown field": replaced("type: FQDN", "type: FQDN\n    port: 443"),
    }),
    "route53": (route53, False, {
        "an unknown field": replaced('"Domains"', '"DomainNames"'),
        "an unknown action": replaced('"Action": "BLOCK"', '"Action": "DENY"'),
        "a list that is missing": replaced('"AllowedNames1": {', '"OtherNames": {'),
    }),
    "cilium": (cilium, False, {
        "an unknown field": replaced("toFQDNs:", "toFqdns:"),
        "an unknown character": replaced('matchName: "', 'matchName: "+'),
        "a second document": replaced("spec:\n", "spec:\nspec:\n"),
    }),
    "cluster-network-policy": (cluster_network_policy, True, {
        "an unknown field": replaced("domainNames:", "domains:"),
        "a name that the pattern refuses": replaced('            - "', '            - "**.'),
        "an unknown action": replaced("action: Deny", "action: Drop"),
        "a rule's name of more than 100 characters": replaced("name: names-", f"name: {LONG}-"),
    }),
    "ztdns": (ztdns, False, {
        "an unknown field": replaced('"tlsPort"', '"port"'),
        "another resource": replaced("windowsZtdnsConfiguration", "windowsZtdns"),
    }),
}

failed = False
for target, (validate, needs_schemas, faults) in TARGETS.items():
    if needs_schemas and not (WORK / "schemas").is_dir():
        print(f"{target}: NOT VALIDATED, its schema is missing")
        continue
    for settings in ("default", "strict"):
        text = (WORK / settings / target).read_text()
        try:
            validate(text)
            print(f"{target}, {settings}: valid, {len(text.splitlines())} lines")
        except Invalid as error:
            failed = True
            print(f"{target}, {settings}: INVALID: {error}")
    for fault, plant in faults.items():
        try:
            validate(plant(text))
            failed = True
            print(f"{target}, with {fault}: NOT FOUND")
        except Invalid as error:
            print(f"{target}, with {fault}: refused: {str(error).splitlines()[0][:110]}")
sys.exit(failed)
