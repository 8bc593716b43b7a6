"""Checks deploy/azure and deploy/terraform: the template, the module, and what both write to the machines.

Both are evaluated with the parameters below, as Azure and Terraform would, and must yield the same resources. Each check must also
reject files with a planted fault. Nothing is deployed.

Usage: azure.py BINARY CHECKOV CLOUD_INIT [SCHEMAS]
"""

import base64
import copy
import hashlib
import ipaddress
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import jsonschema
import referencing
import yaml
from azure.mgmt.compute.v2024_11_01.models import VirtualMachine, VirtualMachineExtension
from azure.mgmt.monitor.models import DataCollectionRuleAssociationProxyOnlyResource
from azure_model import MAIN, OUTPUTS, VARIABLES, Arm, Invalid, Terraform, as_arm, require, snake

TEMPLATE = "deploy/azure/azuredeploy.json"
EXAMPLE = "deploy/azure/azuredeploy.parameters.json"
CLOUD_INIT = "deploy/azure/cloud-init.yaml"
SETTINGS = "deploy/azure/namegate.toml"
LOGS = "config/logging/azure-monitor.json"
HUB, SAFE_HAVEN = "docs/azure/hub-and-spoke.md", "docs/azure/data-safe-haven.md"
EMBEDDED = {"settings": SETTINGS, "cloudInit": CLOUD_INIT}

AZURE_DNS = "168.63.129.16"
REQUIRED = {
    "debUrl": "https://packages.example/namegate_0.1.0_amd64.deb", "debSha256": "ab" * 32, "adminPrefix": "10.0.1.0/24",
    "sshPublicKey": "ssh-ed25519 AAAA admin@example",
}  # fmt: skip
# Parameters beside their defaults: the smallest set, and all.
CASES = [
    REQUIRED,
    REQUIRED | {
        "addressPrefix": "10.60.0.0/16", "allowlists": ["azure-ml"], "allow": ["mirror.corp.example", "*.corp.example"],
        "policyMode": "enforce", "logWorkspace": "logs", "routeTableId": "/subscriptions/ID/routeTables/firewall", "vmSize": "Standard_D4s_v5",
    },
]  # fmt: skip
# What checkov finds and we leave so, with the reason.
SKIPPED = {
    "CKV_AZURE_182": "one DNS server: the load balancer's address, behind which are two machines; on interfaces, Azure's resolver",
    "CKV_AZURE_50": "the extension is Azure Monitor Agent, and only with `logWorkspace`",
    "CKV_AZURE_97": "encryption at host must first be registered for the subscription; disks are encrypted by the platform",
    "CKV_AZURE_151": "the same, for virtual machines",
}


def cases(files):
    template = json.loads(files[TEMPLATE])
    return template, [Arm(template, given) for given in CASES]


def machine_data(machine):
    data = base64.b64decode(machine["properties"]["osProfile"]["customData"]).decode()
    require(not re.search(r"\$\{", data), f"a placeholder stays: {data}")
    return data


def check_embedded(files, _):
    template = json.loads(files[TEMPLATE])
    for name, path in EMBEDDED.items():
        require(template["variables"][name] == files[path], f"{TEMPLATE} has another {path}: run `.ci/azure --embed`")
        require(not files[path].startswith("["), f"Azure would read {path} as an expression")
    (logs,) = [resource for resource in template["resources"] if resource["type"] == "Microsoft.Resources/deployments"]
    require(logs["properties"]["template"] == json.loads(files[LOGS]), f"{TEMPLATE} has another {LOGS}")


def closed(schema):
    """The schema, with fields refused that it does not name."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: value if key in ("enum", "required") else closed(value) for key, value in schema.items()}
    if (
        isinstance(schema.get("properties"), dict)
        and schema.get("type") == "object"
        and not {"additionalProperties", "allOf", "oneOf"} & schema.keys()
    ):
        schema["additionalProperties"] = False
    return schema


def validators(tools):
    """A function for each resource type, which raises Invalid."""

    def model(kind):
        def validate(resource):
            known = kind.deserialize(copy.deepcopy(resource)).serialize(keep_readonly=True).get("properties")
            require(known == resource["properties"], f"{resource['type']}: Azure's package knows only {known}")

        return validate

    found = {
        "Microsoft.Compute/virtualMachines": model(VirtualMachine),
        "Microsoft.Compute/virtualMachines/extensions": model(VirtualMachineExtension),
        "Microsoft.Insights/dataCollectionRuleAssociations": model(DataCollectionRuleAssociationProxyOnlyResource),
    }
    if tools["schema"]:
        schema, common = tools["schema"], {"definitions": {"expression": {"not": {}}}}
        url = "https://schema.management.azure.com/schemas/common/definitions.json"
        registry = referencing.Registry().with_resource(
            url, referencing.Resource.from_contents(common, referencing.jsonschema.DRAFT7)
        )
        for definition in schema["resourceDefinitions"].values():
            fields = {"dependsOn": {"type": "array"}, **definition["properties"]}
            wanted = {**definition, "properties": fields, "definitions": schema["definitions"]}

            def validate(resource, wanted=wanted):
                for error in jsonschema.Draft7Validator(wanted, registry=registry).iter_errors(resource):
                    error = jsonschema.exceptions.best_match([error])
                    raise Invalid(f"{resource['type']} {resource['name']}: {error.json_path}: {error.message[:300]}")

            found[fields["type"]["enum"][0]] = validate
    return found


def strings(value):
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


def check_template(files, tools):
    template, evaluated = cases(files)
    require(
        template["$schema"].endswith("/2019-04-01/deploymentTemplate.json#") and template["contentVersion"], "head of the template"
    )
    for resource in template["resources"]:
        require(
            re.fullmatch(r"\d{4}-\d\d-\d\d", resource["apiVersion"]), f"{resource['type']}: apiVersion {resource['apiVersion']}"
        )
        require(
            resource.get("location", "[resourceGroup().location]") == "[resourceGroup().location]", f"{resource['name']}: location"
        )
    used = set().union(*(arm.used for arm in evaluated))
    for part in ("parameters", "variables"):
        unused = set(template[part]) - {name for kind, name in used if kind == part}
        require(not unused, f"nobody uses {part} {unused}")
    for name, parameter in template["parameters"].items():
        require(parameter["metadata"]["description"].endswith("."), f"{name} has no description")
    for arm in evaluated:
        for key, resource in arm.resources.items():
            validate = tools["validators"].get(resource["type"])
            if validate:
                validate(resource)
            before = depends_on(arm, resource)
            for reference in references(resource):
                owner = arm.owners().get(reference)
                require(owner, f"{key} refers to {reference}, which does not exist")
                require(owner in before | {key}, f"{key} does not depend on {owner}")
    # Azure leaves out a dependency on a resource whose condition is false, but not one on nothing.
    everything = [{key: value for key, value in resource.items() if key != "condition"} for resource in template["resources"]]
    arm = Arm({**template, "resources": everything}, REQUIRED)
    for resource in arm.resources.values():
        missing = set(resource.get("dependsOn", [])) - set(arm.resources)
        require(not missing, f"dependsOn names {missing}, which does not exist")


def references(resource):
    """The IDs in a resource, without those in a template within it."""
    outer = {key: value for key, value in resource["properties"].items() if key != "template"}
    found = {text for text in strings(outer) if text.startswith("Microsoft.") and text.count("/") >= 2}
    return found | {resource["scope"]} if "scope" in resource else found


def depends_on(arm, resource):
    """All resources that Azure makes before this one."""
    found, open_ends = set(), [resource]
    while open_ends:
        new = {key for key in open_ends.pop().get("dependsOn", []) if key in arm.resources} - found
        found |= new
        open_ends += [arm.resources[key] for key in new]
    return found


def check_example(files, _):
    example = json.loads(files[EXAMPLE])
    given = {name: parameter["value"] for name, parameter in example["parameters"].items()}
    template = json.loads(files[TEMPLATE])
    require(list(given) == list(template["parameters"]), f"{EXAMPLE} has {list(given)}")
    Arm(template, given)
    for name, parameter in template["parameters"].items():
        require(given[name] in parameter.get("allowedValues", [given[name]]), f"{name} is {given[name]}")
        require(parameter.get("minLength", 0) <= len(given[name]) <= parameter.get("maxLength", 1000), f"length of {name}")


# What the network lets through

DEFAULT_RULES = [
    (65000, "Inbound", "Allow", "VirtualNetwork", "VirtualNetwork"), (65001, "Inbound", "Allow", "AzureLoadBalancer", "*"),
    (65500, "Inbound", "Deny", "*", "*"), (65000, "Outbound", "Allow", "VirtualNetwork", "VirtualNetwork"),
    (65001, "Outbound", "Allow", "*", "Internet"), (65500, "Outbound", "Deny", "*", "*"),
]  # fmt: skip


def access(group, direction, source, destination, protocol, port):
    """What a security group does with a packet. An end is a set of its address and its service tags."""
    rules = [rule["properties"] for rule in group["properties"]["securityRules"]]
    for priority, *rest in DEFAULT_RULES:
        names = ("direction", "access", "sourceAddressPrefix", "destinationAddressPrefix")
        rules.append({"priority": priority, "protocol": "*", "destinationPortRange": "*", **dict(zip(names, rest))})
    for rule in sorted(rules, key=lambda rule: rule["priority"]):

        def has(end, prefix):
            # Azure filters packets to its resolver only by rules with the tag.
            if "AzurePlatformDNS" in end:
                return prefix == "AzurePlatformDNS"
            return prefix == "*" or prefix in end

        ports = rule.get("destinationPortRanges", [rule.get("destinationPortRange")])
        if (rule["direction"] == direction and rule["protocol"] in ("*", protocol) and (has(source, rule["sourceAddressPrefix"]))
                and has(destination, rule["destinationAddressPrefix"]) and {"*", str(port)} & set(ports)):  # fmt: skip
            return rule["access"]
    return "Allow"


def check_network(files, _):
    _, evaluated = cases(files)
    for arm in evaluated:
        (network,), (balancer,) = arm.of_type("virtualNetworks"), arm.of_type("loadBalancers")
        subnets = {part["name"]: part["properties"] for part in network["properties"]["subnets"]}
        groups = {name: arm.resources[part["networkSecurityGroup"]["id"]] for name, part in subnets.items()}
        (front,) = balancer["properties"]["frontendIPConfigurations"]
        dns = front["properties"]["privateIPAddress"]
        here, other, internet = {"VirtualNetwork", "a client"}, {"VirtualNetwork", "another host"}, {"Internet", "a public address"}
        azure, probe, admin = {"AzurePlatformDNS"}, {"AzureLoadBalancer"}, {"VirtualNetwork", arm.given["adminPrefix"]}
        for group, direction, source, destination, ports, wanted in [
            ("clients", "Outbound", here, {"VirtualNetwork", dns}, (53,), "Allow"),
            ("clients", "Outbound", here, azure, (53, 80), "Deny"),
            ("clients", "Outbound", here, other, (53, 853), "Deny"),
            ("clients", "Outbound", here, internet, (53, 853), "Deny"),
            ("clients", "Outbound", here, internet, (443,), "Allow"),
            ("resolvers", "Outbound", here, azure, (53,), "Allow"),
            ("resolvers", "Inbound", other, here, (53,), "Allow"),
            ("resolvers", "Inbound", internet, here, (53, 22, 9153, 443), "Deny"),
            ("resolvers", "Inbound", other, here, (22, 9153, 443), "Deny"),
            ("resolvers", "Inbound", admin, here, (22, 9153), "Allow"),
            ("resolvers", "Inbound", probe, here, (9153,), "Allow"),
        ]:  # fmt: skip
            for port in ports:
                for protocol in ("Udp", "Tcp"):
                    if protocol == "Udp" and port in (22, 9153):
                        continue
                    got = access(groups[group], direction, source, destination, protocol, port)
                    require(got == wanted, f"{group}, {direction}: {source} to {destination}, {protocol} {port}: {got}")
        for group in groups.values():
            for rule in group["properties"]["securityRules"]:
                if rule["properties"]["destinationAddressPrefix"] == "AzurePlatformDNS":
                    whole = (rule["properties"]["protocol"], rule["properties"].get("destinationPortRange"))
                    require(whole == ("*", "*"), "Azure accepts AzurePlatformDNS only with all protocols and ports")
        require(network["properties"]["dhcpOptions"]["dnsServers"] == [dns], "the network has other DNS servers than namegate")
        (probe,) = balancer["properties"]["probes"]
        require(
            (probe["properties"]["protocol"], probe["properties"]["port"], probe["properties"]["requestPath"])
            == ("Http", 9153, "/livez"),
            "the probe is not /livez",
        )
        ports = {
            (rule["properties"]["protocol"], rule["properties"]["frontendPort"], rule["properties"]["backendPort"])
            for rule in balancer["properties"]["loadBalancingRules"]
        }
        require(ports == {("Udp", 53, 53), ("Tcp", 53, 53)}, f"the load balancer has the rules {ports}")
        addresses = [dns]
        for interface in arm.of_type("networkInterfaces"):
            require(interface["properties"]["dnsSettings"]["dnsServers"] == [AZURE_DNS], "a machine would depend on namegate")
            (address,) = interface["properties"]["ipConfigurations"]
            require("publicIPAddress" not in address["properties"], "a machine has a public address")
            addresses.append(address["properties"]["privateIPAddress"])
        require(arm.outputs["dnsServer"] == dns and arm.outputs["resolverAddresses"] == addresses[1:], "outputs")
        usable = [str(address) for address in ipaddress.ip_network(subnets["resolvers"]["addressPrefix"])][4:-1]
        require(set(addresses) <= set(usable) and len(set(addresses)) == 3, f"addresses {addresses}")
        require([machine["zones"] for machine in arm.of_type("virtualMachines")] == [["1"], ["2"]], "zones of the machines")
        outward = {key for key in ("natGateway", "routeTable") if key in subnets["resolvers"]}
        require(outward == ({"routeTable"} if arm.given["routeTableId"] else {"natGateway"}), f"the resolvers' way out: {outward}")


# What the machines do at their first start


def installed(script, digest, package):
    """Runs the script with commands that only write down what they are told."""
    with tempfile.TemporaryDirectory() as work:
        commands = {
            "curl": 'while [ "$1" != --output ]; do shift; done; cp "$PACKAGE" "$2"',
            "apt-get": 'echo "apt-get $*" >>"$DONE"',
            "systemctl": 'echo "systemctl $*" >>"$DONE"',
        }
        for name, body in commands.items():
            (Path(work) / name).write_text(f"#!/bin/sh\n{body}\n")
            (Path(work) / name).chmod(0o755)
        (Path(work) / "package").write_bytes(package)
        script = script.replace("/var/cache/", f"{work}/").replace(REQUIRED["debSha256"], digest)
        environment = {"PATH": f"{work}:{os.environ['PATH']}", "PACKAGE": f"{work}/package", "DONE": f"{work}/done"}
        done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
        lines = (Path(work) / "done").read_text().splitlines() if (Path(work) / "done").exists() else []
        return done.returncode, lines


def check_machines(files, tools):
    _, evaluated = cases(files)
    for arm in evaluated:
        for machine, interface in zip(arm.of_type("virtualMachines"), arm.of_type("networkInterfaces")):
            data = machine_data(machine)
            require(data.startswith("#cloud-config\n"), "not cloud-config")
            with tempfile.TemporaryDirectory() as work:
                path = Path(work) / "cloud-init.yaml"
                path.write_text(data)
                command = [sys.executable, "-m", "cloudinit.cmd.main", "schema", "--config-file", str(path)]
                done = subprocess.run(
                    command, env={**os.environ, "PYTHONPATH": tools["cloud-init"]}, capture_output=True, text=True
                )
                require(done.returncode == 0 and "Valid" in done.stdout, f"cloud-init: {done.stdout}{done.stderr}")
                content = yaml.safe_load(data)
                # The schema of this version admits unknown keys.
                require(set(content) == {"write_files", "runcmd"}, f"cloud-config has {set(content)}")
                (file,) = content["write_files"]
                require(file["path"] == "/etc/namegate/namegate.toml", f"the settings are in {file['path']}")
                settings = Path(work) / "namegate.toml"
                settings.write_bytes(base64.b64decode(file["content"]))
                done = subprocess.run(
                    [tools["binary"], "check", "--files-only", "--config", str(settings)], capture_output=True, text=True
                )
                require(done.returncode == 0, f"namegate check: {done.stderr}")
                done = subprocess.run([tools["binary"], "config", "--config", str(settings)], capture_output=True, text=True)
                shown = tomllib.loads(done.stdout)
            address = interface["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
            for key, wanted in {
                "server.listen": [f"{address}:53"], "upstream.servers": [AZURE_DNS], "policy.mode": arm.given["policyMode"],
                "policy.zones": arm.given["allowlists"], "policy.allow": arm.given["allow"], "admin.listen": "0.0.0.0:9153",
                "log.file": json.loads(files[LOGS])["parameters"]["file"]["defaultValue"],
            }.items():  # fmt: skip
                section, name = key.split(".")
                require(
                    shown.get(section, {}).get(name) == wanted, f"{key} is {shown.get(section, {}).get(name)} instead of {wanted}"
                )
            (script,) = content["runcmd"]
            require(
                f"'{arm.given['debUrl']}'" in script and "--proto '=https'" in script, "the package is not fetched over HTTPS alone"
            )
            status, lines = installed(script, hashlib.sha256(b"package").hexdigest(), b"package")
            require(status == 0 and len(lines) == 2 and lines[0].startswith("apt-get install"), f"installation: {lines}")
            require(lines[1] == "systemctl enable --now namegate.service", f"service: {lines}")
            status, lines = installed(script, REQUIRED["debSha256"], b"package")
            require(status != 0 and not lines, f"a package with another digest is installed: {lines}")


# The Terraform module


def difference(one, other, path=""):
    """The first place where two values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(set(one) | set(other)):
            if one.get(key) != other.get(key):
                return difference(one.get(key), other.get(key), f"{path} {key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other)):
            if left != right:
                return difference(left, right, f"{path} {index}")
    return f"{path}: {one!r} in the template, {other!r} in the module"


def check_terraform(files, _):
    template, evaluated = cases(files)
    for arm, given in zip(evaluated, CASES):
        module = Terraform(files, {"resource_group": "group"} | {snake(name): value for name, value in given.items()})
        require(
            list(module.variables) == ["resource_group", *map(snake, template["parameters"])], f"variables {list(module.variables)}"
        )
        for name, parameter in template["parameters"].items():
            variable = module.variables[snake(name)]
            require(
                module.value(variable["description"]) == parameter["metadata"]["description"], f"{snake(name)}: another description"
            )
            require(("default" in variable) == ("defaultValue" in parameter), f"{snake(name)}: a default in only one of them")
            require(module.value(variable.get("default")) == parameter.get("defaultValue"), f"{snake(name)}: another default")
            require(
                variable["type"] == {"string": "string", "array": "${list(string)}"}[parameter["type"]],
                f"{snake(name)}: another type",
            )
        require(module.used == set(module.variables), f"nobody uses {set(module.variables) - module.used}")
        wanted = {
            key: {part: resource[part] for part in ("properties", "sku", "zones", "identity", "scope") if part in resource}
            for key, resource in arm.resources.items()
        }
        got = as_arm(module)
        require(got == wanted, f"the module differs:{difference(wanted, got)}")
        outputs = {snake(name): value for name, value in arm.outputs.items()}
        require(module.outputs == outputs, f"outputs {module.outputs} instead of {outputs}")
        require("required_version" in module.versions and "required_providers" in module.versions, "versions.tf names no versions")
        (machine,) = [block for (kind, _), block in module.blocks.items() if kind == "azurerm_linux_virtual_machine"]
        require(
            machine["lifecycle"][0]["ignore_changes"] == ["custom_data"],
            "a change of the settings would replace both machines at once",
        )


# Pages


def check_pages(files, _):
    _, (arm, *_) = cases(files)
    dns = arm.outputs["dnsServer"]
    addresses = set(re.findall(r"\b10\.53\.0\.\d+\b(?!/)", files[HUB]))
    require(addresses == {dns} and f"--dns-servers {dns}\n" in files[HUB], f"{HUB} has {addresses} instead of {dns}")
    clients = next(group for group in arm.of_type("networkSecurityGroups") if group["name"] == "namegate-clients")
    rows = re.findall(r"^ *\| (\d+) \| (\w+), outbound \|", files[HUB], re.MULTILINE)
    rules = [
        (str(rule["properties"]["priority"]), rule["properties"]["access"].lower())
        for rule in clients["properties"]["securityRules"]
    ]
    require(rows == rules, f"{HUB} has the rules {rows} instead of {rules}")
    (script,) = yaml.safe_load(files[CLOUD_INIT])["runcmd"]
    script = script.replace("${deb_url}", "URL_OF_THE_PACKAGE").replace("${deb_sha256}", "SHA256_OF_THE_PACKAGE")
    require(
        "".join(f"       {line}\n" for line in script.splitlines()) in files[SAFE_HAVEN],
        f"{SAFE_HAVEN} installs otherwise than {CLOUD_INIT}",
    )


# checkov


def check_checkov(files, tools):
    with tempfile.TemporaryDirectory() as work:
        for path, text in files.items():
            (Path(work) / path).parent.mkdir(parents=True, exist_ok=True)
            (Path(work) / path).write_text(text)
        command = [
            tools["checkov"],
            "--directory",
            f"{work}/deploy",
            "--framework",
            "arm",
            "terraform",
            "--skip-download",
            "--compact",
            "--output",
            "json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LOG_LEVEL": "ERROR"})
    try:
        reports = json.loads(done.stdout)
    except ValueError as error:
        sys.exit(f"checkov: {error}: {done.stderr[-2000:]}")
    require({report["check_type"] for report in reports} == {"arm", "terraform"}, "checkov read only one of them")
    failed = {}
    for report in reports:
        require(not report["results"]["parsing_errors"], f"checkov cannot read {report['results']['parsing_errors']}")
        require(report["summary"]["passed"] >= 10, f"checkov checked almost nothing: {report['summary']}")
        for result in report["results"]["failed_checks"]:
            failed[result["check_id"]] = f"{result['check_id']} {result['check_name']}: {result['resource']}"
    for identifier, text in failed.items():
        require(identifier in SKIPPED, f"checkov: {text}")
    require(set(failed) == set(SKIPPED), f"checkov no longer finds {set(SKIPPED) - set(failed)}")


# A fault for each kind of mistake that a check must find: check, file, text, replacement.
FAULTS = [
    (check_embedded, CLOUD_INIT, "set -eu", "set -u"),
    (check_embedded, SETTINGS, "ipv6_prefix_length = 128", "ipv6_prefix_length = 64"),
    (check_embedded, LOGS, "namegate-queries", "namegate-log"),
    (check_template, TEMPLATE, "[parameters('vmSize')]", "Standard_D2s_v5"),
    (check_template, TEMPLATE, "[parameters('vmSize')]", "[parameters('size')]"),
    (check_template, TEMPLATE, '"location": "[resourceGroup().location]"', '"location": "westeurope"'),
    (check_template, TEMPLATE, '"apiVersion": "2025-07-01"', '"apiVersion": "2025-07-01-preview"'),
    (check_template, TEMPLATE, "/probes', 'namegate', 'livez'", "/probes', 'namegate', 'readyz'"),
    (check_template, TEMPLATE, '"dependsOn": ["[resourceId(\'Microsoft.Network/loadBalancers\', \'namegate\')]"],', ""),
    (check_template, TEMPLATE, "[resourceId('Microsoft.Network/natGateways', 'namegate')]", "[resourceId('Microsoft.Network/natGateways', 'nat')]"),
    (check_template, TEMPLATE, '"adminUsername"', '"adminUser"'),
    (check_template, TEMPLATE, '"typeHandlerVersion"', '"handlerVersion"'),
    (check_template, TEMPLATE, "cidrHost(variables('resolversPrefix'), 5)", "cidrHost(variables('resolversPrefix'), 5"),
    (check_example, EXAMPLE, '"adminPrefix"', '"adminPrefixes"'),
    (check_example, EXAMPLE, '"policyMode": { "value": "observe" }', '"policyMode": { "value": "off" }'),
    (check_network, TEMPLATE, '"destinationAddressPrefix": "AzurePlatformDNS"', '"destinationAddressPrefix": "Internet"'),
    (check_network, TEMPLATE, '"id": "[resourceId(\'Microsoft.Network/networkSecurityGroups\', \'namegate-resolvers\')]"',
     '"id": "[resourceId(\'Microsoft.Network/networkSecurityGroups\', \'namegate-clients\')]"'),
    (check_network, TEMPLATE, '"sourceAddressPrefix": "VirtualNetwork"', '"sourceAddressPrefix": "*"'),
    (check_network, TEMPLATE, '"sourceAddressPrefix": "[parameters(\'adminPrefix\')]"', '"sourceAddressPrefix": "VirtualNetwork"'),
    (check_network, TEMPLATE, '"priority": 4096', '"priority": 65500'),
    (check_network, TEMPLATE, '["53", "853"]', '["853"]'),
    (check_network, TEMPLATE, '"/livez"', '"/readyz"'),
    (check_network, TEMPLATE, '"protocol": "Udp",\n              "frontendPort"', '"protocol": "Tcp",\n              "frontendPort"'),
    (check_network, TEMPLATE, '"dnsServers": ["[variables(\'dnsServer\')]"]', '"dnsServers": ["[variables(\'dnsServer\')]", "168.63.129.16"]'),
    (check_network, TEMPLATE, '"dnsServers": ["168.63.129.16"]', '"dnsServers": ["[variables(\'dnsServer\')]"]'),
    (check_network, TEMPLATE, "cidrHost(variables('resolversPrefix'), 3)", "cidrHost(variables('resolversPrefix'), 2)"),
    (check_machines, TEMPLATE, "write_files:", "write_file:"),
    (check_machines, TEMPLATE, 'permissions: \\"0644\\"', "permissions: 0644"),
    (check_machines, TEMPLATE, "/etc/namegate/namegate.toml\\n", "/etc/namegate.toml\\n"),
    (check_machines, TEMPLATE, "set -eu", "set -u"),
    (check_machines, TEMPLATE, " | sha256sum --check --strict", ""),
    (check_machines, TEMPLATE, "--proto '=https' ", ""),
    (check_machines, TEMPLATE, 'listen = [\\"${address}:53\\"]', 'listen = [\\"0.0.0.0:53\\"]'),
    (check_machines, TEMPLATE, "ipv6_prefix_length", "ipv6_prefix"),
    (check_machines, TEMPLATE, "'${policy_mode}'", "'${mode}'"),
    (check_machines, TEMPLATE, "'${settings}'", "'${setting}'"),
    (check_terraform, MAIN, 'name = var.resource_group\n}', 'name = var.resource_group\n'),
    (check_terraform, MAIN, '"AzurePlatformDNS"', '"Internet"'),
    (check_terraform, MAIN, 'request_path        = "/livez"', 'request_path        = "/readyz"'),
    (check_terraform, MAIN, "cidrhost(local.resolvers_prefix, 6)", "cidrhost(local.resolvers_prefix, 7)"),
    (check_terraform, MAIN, "zone                  = tostring(count.index + 1)", 'zone                  = "1"'),
    (check_terraform, MAIN, "ignore_changes = [custom_data]", "ignore_changes = [tags]"),
    (check_terraform, MAIN, "allow       = jsonencode(var.allow)\n", ""),
    (check_terraform, MAIN, "azurerm_lb_probe.livez.id", "azurerm_lb_probe.ready.id"),
    (check_terraform, MAIN, "secure_boot_enabled             = true", "secure_boot_enabled             = false"),
    (check_terraform, VARIABLES, 'default     = "observe"', 'default     = "enforce"'),
    (check_terraform, VARIABLES, 'variable "vm_size"', 'variable "size"'),
    (check_terraform, OUTPUTS, "local.dns_server", "local.addresses"),
    (check_pages, HUB, "| 110 | deny", "| 110 | allow"),
    (check_pages, HUB, "--dns-servers 10.53.0.6", "--dns-servers 10.53.0.4"),
    (check_pages, SAFE_HAVEN, "sha256sum --check --strict", "sha256sum --check"),
    (check_checkov, TEMPLATE, '"disablePasswordAuthentication": true', '"disablePasswordAuthentication": false'),
    (check_checkov, MAIN, "var.admin_prefix", '"*"'),
]  # fmt: skip
# Faults that only Azure's schemas know.
SCHEMA_FAULTS = [
    (check_template, TEMPLATE, '"loadDistribution"', '"loadDistributions"'),
    (check_template, TEMPLATE, '"defaultOutboundAccess": false', '"defaultOutboundAccess": "no"'),
    (check_template, TEMPLATE, '"access": "Deny"', '"access": "Block"'),
    (check_template, TEMPLATE, '"dhcpOptions"', '"dhcp"'),
]


def embed():
    text = Path(TEMPLATE).read_text()
    for name, path in EMBEDDED.items():
        line = f'    "{name}": {json.dumps(Path(path).read_text(), ensure_ascii=False)}'
        text = re.sub(rf'^    "{name}": ".*?(?=,?$)', lambda _: line, text, flags=re.MULTILINE)
    Path(TEMPLATE).write_text(text)


def main():
    binary, checkov, cloud_init, *schemas = sys.argv[1:]
    tools = {
        "binary": binary,
        "checkov": checkov,
        "cloud-init": cloud_init,
        "schema": closed(json.loads(Path(schemas[0]).read_text())) if schemas else None,
    }
    tools["validators"] = validators(tools)
    paths = [path for path in sorted(Path("deploy").rglob("*")) if path.is_file() and path.parts[1] in ("azure", "terraform")]
    files = {str(path): path.read_text() for path in [*paths, *map(Path, (LOGS, HUB, SAFE_HAVEN))]}
    checks = [
        check_embedded,
        check_template,
        check_example,
        check_network,
        check_machines,
        check_terraform,
        check_pages,
        check_checkov,
    ]
    for check in checks:
        check(files, tools)
        print(f"{check.__name__[6:]}: good")
    faults = FAULTS + (SCHEMA_FAULTS if schemas else [])
    for check, name, text, fault in faults:
        require(text in files[name], f"{name} lacks {text!r}, in which a fault is to be planted")
        try:
            check(files | {name: files[name].replace(text, fault, 1)}, tools)
        except (Invalid, json.JSONDecodeError):
            continue
        raise Invalid(f"{check.__name__} does not notice {fault!r} in {name}")
    require({fault[0] for fault in FAULTS} == set(checks), "a check has no planted fault")
    print(f"{len(files)} files, {len(faults)} planted faults found; nothing was deployed")


if __name__ == "__main__":
    if sys.argv[1:] == ["--embed"]:
        embed()
        sys.exit()
    try:
        main()
    except Invalid as invalid:
        sys.exit(f"FAULT: {invalid}")
