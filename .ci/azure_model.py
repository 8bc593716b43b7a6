"""Evaluates the ARM template and the Terraform module, as Azure and Terraform would, into the same form."""

import base64
import copy
import ipaddress
import json
import os
import re

import hcl2

MAIN, VARIABLES, OUTPUTS, VERSIONS = (f"deploy/terraform/{name}.tf" for name in ("main", "variables", "outputs", "versions"))


class Invalid(Exception):
    """The files are not what Azure or Terraform reads, or do not do what they say."""


def require(holds, message):
    if not holds:
        raise Invalid(message)


# Expressions of ARM templates and of Terraform: enough of both languages for these files

TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+)|(?P<word>[A-Za-z_][\w-]*)|(?P<arm>'(?:[^']|'')*')|(?P<quote>")|(?P<sign>==|!=|[][(){}.,?:=+-]))"""
)


class Parser:
    """Evaluates one expression. `functions` get their arguments; `names` resolves what is not called."""

    def __init__(self, text, functions, names):
        self.text, self.functions, self.names, self.position = text, functions, names, 0

    def peek(self):
        match = TOKEN.match(self.text, self.position)
        return (match.lastgroup, match[match.lastgroup], match.end()) if match else (None, None, len(self.text))

    def take(self, wanted=None):
        kind, value, end = self.peek()
        require(kind and wanted in (None, value), f"`{self.text}`: expected {wanted or 'a value'} at {self.position}")
        self.position = end
        return kind, value

    def accept(self, *signs):
        kind, value, end = self.peek()
        if kind == "sign" and value in signs:
            self.position = end
            return value
        return None

    def whole(self):
        value = self.ternary()
        require(not self.text[self.position :].strip(), f"`{self.text}`: cannot read it from {self.position}")
        return value

    def ternary(self):
        value = self.equality()
        if self.accept("?"):
            yes = self.ternary()
            self.take(":")
            no = self.ternary()
            return yes if value else no
        return value

    def equality(self):
        value = self.sum()
        while sign := self.accept("==", "!="):
            value = (value == self.sum()) == (sign == "==")
        return value

    def sum(self):
        value = self.postfix()
        while sign := self.accept("+", "-"):
            other = self.postfix()
            value = value + other if sign == "+" else value - other
        return value

    def postfix(self):
        value = self.primary()
        while sign := self.accept(".", "["):
            if sign == ".":
                value = value[self.take()[1]]
            else:
                value = value[self.ternary()]
                self.take("]")
        return value

    def list(self, end):
        values = []
        while not self.accept(end):
            values.append(self.ternary())
            self.accept(",")
        return values

    def primary(self):
        kind, value = self.take()
        if kind == "number":
            return int(value)
        if kind == "arm":
            return value[1:-1].replace("''", "'")
        if kind == "quote":
            return self.string()
        if value == "(":
            inner = self.ternary()
            self.take(")")
            return inner
        if value == "[":
            return self.list("]")
        if value == "{":
            fields = {}
            while not self.accept("}"):
                key = self.take()[1]
                self.take("=")
                fields[key] = self.ternary()
                self.accept(",")
            return fields
        require(kind == "word", f"`{self.text}`: cannot read {value}")
        if self.accept("("):
            require(value in self.functions, f"`{self.text}`: unknown function {value}")
            return self.functions[value](*self.list(")"))
        return self.names(value)

    def string(self):
        """The rest of a string in double quotes, with its templates."""
        parts = []
        while True:
            character = self.text[self.position]
            self.position += 1
            if character == '"':
                return str(parts[0]) if len(parts) == 1 else "".join(map(str, parts))
            if character == "\\":
                parts.append(json.loads(f'"\\{self.text[self.position]}"'))
                self.position += 1
            elif self.text.startswith("${", self.position - 1):
                self.position += 1
                parts.append(self.ternary())
                self.take("}")
            else:
                parts.append(character)


def subnet(prefix, length, index):
    network = ipaddress.ip_network(prefix)
    return str(ipaddress.ip_network((int(network.network_address) + (index << (32 - length)), length)))


def host(prefix, index):
    return str(ipaddress.ip_network(prefix)[index])


def resource_id(kind, *names):
    return "/".join([kind, *names])


# The template


def without_null(value):
    if isinstance(value, dict):
        return {key: without_null(field) for key, field in value.items() if field is not None}
    return [without_null(item) for item in value] if isinstance(value, list) else value


class Arm:
    """The template with values for its parameters: `resources` and `outputs` as Azure would make them."""

    def __init__(self, template, given):
        self.template, self.used, self.index = template, set(), None
        declared = template["parameters"]
        require(not set(given) - set(declared), f"unknown parameters {set(given) - set(declared)}")
        self.given = {}
        for name, parameter in declared.items():
            require(name in given or "defaultValue" in parameter, f"{name} has no value")
            self.given[name] = given.get(name, parameter.get("defaultValue"))
            kind = {"string": str, "array": list}[parameter["type"]]
            require(isinstance(self.given[name], kind), f"{name} is no {parameter['type']}")
        self.functions = {
            "parameters": lambda name: self.use("parameters", name, self.given),
            "variables": lambda name: self.value(self.use("variables", name, template["variables"])),
            "resourceGroup": lambda: {"location": "LOCATION"},
            "resourceId": resource_id,
            "copyIndex": lambda: self.index,
            # The first usable address has the index 0.
            "cidrSubnet": subnet, "cidrHost": lambda prefix, index: host(prefix, index + 1),
            "format": lambda text, *values: text.format(*values), "add": lambda a, b: a + b,
            "replace": lambda text, old, new: text.replace(old, new), "base64": lambda text: base64.b64encode(text.encode()).decode(),
            "string": lambda value: json.dumps(value, separators=(",", ":")) if isinstance(value, (list, dict)) else str(value),
            "if": lambda holds, yes, no: yes if holds else no, "not": lambda holds: not holds, "empty": lambda value: not value,
            "null": lambda: None, "createObject": lambda *fields: dict(zip(fields[::2], fields[1::2])),
        }  # fmt: skip
        self.resources = {}
        for resource in template["resources"]:
            for self.index in range(resource.get("copy", {}).get("count", 1)):
                made = without_null(self.value({key: value for key, value in resource.items() if key != "copy"}))
                if made.pop("condition", True):
                    key = resource_id(made["type"], made["name"])
                    key = f"{made['scope']}/{key}" if "scope" in made else key
                    require(key not in self.resources, f"{key} is there twice")
                    self.resources[key] = made
        self.outputs = {name: self.value(output["value"]) for name, output in template["outputs"].items()}

    def use(self, part, name, values):
        require(name in values, f"there is no {name} in {part}")
        self.used.add((part, name))
        return values[name]

    def value(self, value):
        if isinstance(value, dict):
            # A template within the template has its own scope.
            return {key: field if key == "template" else self.value(field) for key, field in value.items()}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, str) and value.startswith("[") and value.endswith("]") and not value.startswith("[["):
            return Parser(value[1:-1], self.functions, self.no_name).whole()
        return value

    @staticmethod
    def no_name(name):
        raise Invalid(f"{name} is neither a function nor a value")

    def owners(self):
        """What an ID may name (resources, and parts of networks, load balancers and nested templates), with the resource it belongs to."""
        found = {key: key for key in self.resources}
        for key, resource in self.resources.items():
            for part in ("subnets", "frontendIPConfigurations", "backendAddressPools", "probes"):
                for child in resource["properties"].get(part, []):
                    found[resource_id(f"{resource['type']}/{part}", resource["name"], child["name"])] = key
            for inner in resource["properties"].get("template", {}).get("resources", []):
                found[resource_id(inner["type"], inner["name"])] = key
        return found

    def of_type(self, kind):
        return [resource for resource in self.resources.values() if resource["type"].endswith("/" + kind)]


# The Terraform module


def snake(name):
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def camel(name):
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


ARM_TYPES = {
    "azurerm_network_security_group": "Microsoft.Network/networkSecurityGroups", "azurerm_virtual_network": "Microsoft.Network/virtualNetworks",
    "azurerm_public_ip": "Microsoft.Network/publicIPAddresses", "azurerm_nat_gateway": "Microsoft.Network/natGateways",
    "azurerm_lb": "Microsoft.Network/loadBalancers", "azurerm_network_interface": "Microsoft.Network/networkInterfaces",
    "azurerm_linux_virtual_machine": "Microsoft.Compute/virtualMachines",
}  # fmt: skip
PARTS = {
    "azurerm_subnet": ("Microsoft.Network/virtualNetworks/subnets", lambda fields: fields["virtual_network_name"]),
    "azurerm_lb_backend_address_pool": ("Microsoft.Network/loadBalancers/backendAddressPools", lambda fields: fields["loadbalancer_id"].split("/")[-1]),
    "azurerm_lb_probe": ("Microsoft.Network/loadBalancers/probes", lambda fields: fields["loadbalancer_id"].split("/")[-1]),
}  # fmt: skip


class Terraform:
    """The module with values for its variables: `resources` by type, each with its evaluated fields."""

    def __init__(self, files, given):
        parsed = {}
        for path in (MAIN, VARIABLES, OUTPUTS, VERSIONS):
            try:
                parsed[path] = hcl2.loads(files[path])
            except Exception as error:
                raise Invalid(f"{path}: {error}") from error
        self.files, self.index, self.used = files, None, set()
        self.variables = {name: block for part in parsed[VARIABLES]["variable"] for name, block in self.named(part)}
        unknown = set(given) - set(self.variables)
        require(not unknown, f"no variables for {unknown}")
        self.given = {name: given.get(name, self.value(block.get("default"))) for name, block in self.variables.items()}
        (self.locals,) = parsed[MAIN]["locals"]
        self.blocks = {}
        for part in parsed[MAIN]["resource"]:
            for kind, inner in self.named(part):
                for name, block in self.named(inner):
                    require((kind, name) not in self.blocks, f"{kind}.{name} is there twice")
                    self.blocks[kind, name] = block
        self.resources = {}
        for (kind, name), block in self.blocks.items():
            made = self.instances(kind, name)
            self.resources.setdefault(kind, []).extend(made)
        self.outputs = {name: self.value(block["value"]) for part in parsed[OUTPUTS]["output"] for name, block in self.named(part)}
        self.versions = parsed[VERSIONS]["terraform"][0]

    @staticmethod
    def named(part):
        return [(name.strip('"'), block) for name, block in part.items() if not name.startswith("__")]

    def instances(self, kind, name):
        require((kind, name) in self.blocks, f"there is no {kind}.{name}")
        block, outer, made = self.blocks[kind, name], self.index, []
        for index in range(self.value(block.get("count", 1))):
            self.index = index
            fields = {
                key: self.value(value)
                for key, value in block.items()
                if key not in ("count", "lifecycle", "depends_on") and not key.startswith("__")
            }
            made.append(self.with_id(kind, fields))
        self.index = outer
        return made

    @staticmethod
    def with_id(kind, fields):
        if kind in ARM_TYPES:
            return {**fields, "id": resource_id(ARM_TYPES[kind], fields["name"])}
        if kind in PARTS:
            part, owner = PARTS[kind]
            return {**fields, "id": resource_id(part, owner(fields), fields["name"])}
        return fields

    def value(self, value):
        if isinstance(value, dict):
            return {key.strip('"'): self.value(field) for key, field in value.items() if not key.startswith("__")}
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, str) and value.startswith("${"):
            return Parser(value[2:-1], self.functions(), self.name).whole()
        if isinstance(value, str) and value.startswith('"'):
            return Parser(value, self.functions(), self.name).whole()
        return value

    def functions(self):
        return {
            # The address of the network has the index 0.
            "cidrsubnet": lambda prefix, bits, index: subnet(prefix, ipaddress.ip_network(prefix).prefixlen + bits, index), "cidrhost": host,
            "tonumber": int, "tostring": str, "split": lambda sign, text: text.split(sign),
            "jsonencode": lambda value: json.dumps(value, separators=(",", ":")), "base64encode": lambda text: base64.b64encode(text.encode()).decode(),
            "file": self.file, "templatefile": self.template,
        }  # fmt: skip

    def file(self, path):
        path = os.path.normpath(path)
        require(path in self.files, f"there is no {path}")
        return self.files[path]

    def template(self, path, values):
        text = self.file(path)
        wanted = set(re.findall(r"\$\{(\w+)\}", text))
        require(wanted == set(values), f"{path} needs {wanted} and gets {set(values)}")
        return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], text)

    def name(self, name):
        """What an expression begins with: an object that resolves the rest."""
        terraform = self

        class Variables(dict):
            def __missing__(self, key):
                require(key in terraform.given, f"there is no var.{key}")
                terraform.used.add(key)
                return terraform.given[key]

        class Locals(dict):
            def __missing__(self, key):
                require(key in terraform.locals, f"there is no local.{key}")
                return terraform.value(terraform.locals[key])

        class Resources(dict):
            def __missing__(self, key):
                found = terraform.instances(name, key)
                return found if "count" in terraform.blocks[name, key] else found[0]

        group = {"location": "LOCATION", "id": "GROUP", "name": self.given.get("resource_group")}
        known = {"var": Variables(), "local": Locals(), "count": {"index": self.index}, "path": {"module": "deploy/terraform"},
                "data": {"azurerm_resource_group": {"namegate": group}}, "true": True, "false": False}  # fmt: skip
        return known[name] if name in known else Resources()

    def of_type(self, kind):
        return copy.deepcopy(self.resources.get(kind, []))


def as_arm(module):
    """The module's resources, written as Azure's. Each field must have its place."""
    made = {}

    def add(kind, fields, properties, **more):
        name = fields.pop("name")
        require(fields.pop("location", "LOCATION") == "LOCATION", f"{name}: location")
        require(fields.pop("resource_group_name", "group") == "group", f"{name}: resource group")
        fields.pop("id", None)
        require(not fields, f"{kind} {name}: nothing in Azure's resource stands for {fields}")
        made[resource_id(kind, name)] = {"properties": properties, **more}

    def take(fields, *names):
        return {camel(name): fields.pop(name) for name in names if name in fields}

    def one(values):
        (value,) = values
        return value

    for group in module.of_type("azurerm_network_security_group"):
        rules = [
            {"name": rule.pop("name"), "properties": {camel(key): value for key, value in rule.items()}}
            for rule in group.pop("security_rule")
        ]
        add("Microsoft.Network/networkSecurityGroups", group, {"securityRules": rules})
    for address in module.of_type("azurerm_public_ip"):
        add(
            "Microsoft.Network/publicIPAddresses",
            address,
            {"publicIPAllocationMethod": address.pop("allocation_method")},
            sku={"name": address.pop("sku")},
        )
    for gateway in module.of_type("azurerm_nat_gateway"):
        links = [
            link["public_ip_address_id"]
            for link in module.of_type("azurerm_nat_gateway_public_ip_association")
            if link["nat_gateway_id"] == gateway["id"]
        ]
        add(
            "Microsoft.Network/natGateways",
            gateway,
            {"publicIpAddresses": [{"id": link} for link in links]},
            sku={"name": gateway.pop("sku_name")},
        )
    subnets = []
    for part in module.of_type("azurerm_subnet"):
        properties = {
            "addressPrefix": one(part["address_prefixes"]),
            "defaultOutboundAccess": part["default_outbound_access_enabled"],
        }
        for kind, field, key in [
            ("azurerm_subnet_network_security_group_association", "network_security_group_id", "networkSecurityGroup"),
            ("azurerm_subnet_nat_gateway_association", "nat_gateway_id", "natGateway"),
            ("azurerm_subnet_route_table_association", "route_table_id", "routeTable"),
        ]:
            properties.update({key: {"id": link[field]} for link in module.of_type(kind) if link["subnet_id"] == part["id"]})
        subnets.append({"name": part["name"], "properties": properties})
    network = one(module.of_type("azurerm_virtual_network"))
    space, servers = network.pop("address_space"), network.pop("dns_servers")
    add(
        "Microsoft.Network/virtualNetworks",
        network,
        {"addressSpace": {"addressPrefixes": space}, "dhcpOptions": {"dnsServers": servers}, "subnets": subnets},
    )

    balancer = one(module.of_type("azurerm_lb"))
    own = balancer["id"]
    front = one(balancer.pop("frontend_ip_configuration"))
    properties = {"frontendIPConfigurations": [{
        "name": front["name"], "zones": front["zones"], "properties": {"privateIPAllocationMethod": front["private_ip_address_allocation"],
        "privateIPAddress": front["private_ip_address"], "subnet": {"id": front["subnet_id"]}}}]}  # fmt: skip
    properties["backendAddressPools"] = [
        {"name": pool["name"]} for pool in module.of_type("azurerm_lb_backend_address_pool") if pool["loadbalancer_id"] == own
    ]
    properties["probes"], properties["loadBalancingRules"] = [], []
    for probe in module.of_type("azurerm_lb_probe"):
        require(probe.pop("loadbalancer_id") == own and probe.pop("id"), "the probe's load balancer")
        properties["probes"].append({"name": probe.pop("name"), "properties": {camel(key): value for key, value in probe.items()}})
    for rule in module.of_type("azurerm_lb_rule"):
        require(rule.pop("loadbalancer_id") == own, "the rule's load balancer")
        frontend = resource_id(
            "Microsoft.Network/loadBalancers/frontendIPConfigurations", "namegate", rule.pop("frontend_ip_configuration_name")
        )
        links = {
            "frontendIPConfiguration": {"id": frontend},
            "backendAddressPool": {"id": one(rule.pop("backend_address_pool_ids"))},
            "probe": {"id": rule.pop("probe_id")},
        }
        properties["loadBalancingRules"].append(
            {"name": rule.pop("name"), "properties": {camel(key): value for key, value in rule.items()} | links}
        )
    add("Microsoft.Network/loadBalancers", balancer, properties, sku={"name": balancer.pop("sku")})

    pools = module.of_type("azurerm_network_interface_backend_address_pool_association")
    for interface in module.of_type("azurerm_network_interface"):
        address = one(interface.pop("ip_configuration"))
        links = [
            link["backend_address_pool_id"]
            for link in pools
            if (link["network_interface_id"], link["ip_configuration_name"]) == (interface["id"], address["name"])
        ]
        properties = {"dnsSettings": {"dnsServers": interface.pop("dns_servers")}, "ipConfigurations": [{"name": address["name"], "properties": {
            "privateIPAllocationMethod": address["private_ip_address_allocation"], "privateIPAddress": address["private_ip_address"],
            "subnet": {"id": address["subnet_id"]}, "loadBalancerBackendAddressPools": [{"id": link} for link in links]}}]}  # fmt: skip
        add("Microsoft.Network/networkInterfaces", interface, properties)
    for machine in module.of_type("azurerm_linux_virtual_machine"):
        key, disk, user = one(machine.pop("admin_ssh_key")), one(machine.pop("os_disk")), machine.pop("admin_username")
        linux = take(machine, "disable_password_authentication")
        linux["ssh"] = {"publicKeys": [{"path": f"/home/{key['username']}/.ssh/authorized_keys", "keyData": key["public_key"]}]}
        linux["patchSettings"] = {"patchMode": machine.pop("patch_mode"), "assessmentMode": machine.pop("patch_assessment_mode")}
        secure = {"secureBootEnabled": machine.pop("secure_boot_enabled"), "vTpmEnabled": machine.pop("vtpm_enabled")}
        properties = {
            "hardwareProfile": {"vmSize": machine.pop("size")},
            "storageProfile": {"imageReference": one(machine.pop("source_image_reference")), "osDisk": {
                "createOption": "FromImage", "caching": disk["caching"], "managedDisk": {"storageAccountType": disk["storage_account_type"]}}},
            "osProfile": {"computerName": machine["name"], "adminUsername": user, "customData": machine.pop("custom_data"), "linuxConfiguration": linux},
            "securityProfile": {"securityType": "TrustedLaunch", "uefiSettings": secure},
            "networkProfile": {"networkInterfaces": [{"id": link} for link in machine.pop("network_interface_ids")]},
        }  # fmt: skip
        add(
            "Microsoft.Compute/virtualMachines",
            machine,
            properties,
            zones=[machine.pop("zone")],
            identity=one(machine.pop("identity")),
        )
    for agent in module.of_type("azurerm_virtual_machine_extension"):
        agent["name"] = f"{agent.pop('virtual_machine_id').split('/')[-1]}/{agent['name']}"
        properties = take(agent, "publisher", "type", "type_handler_version", "auto_upgrade_minor_version")
        properties["enableAutomaticUpgrade"] = agent.pop("automatic_upgrade_enabled")
        add("Microsoft.Compute/virtualMachines/extensions", agent, properties)
    for logs in module.of_type("azurerm_resource_group_template_deployment"):
        properties = {"mode": logs.pop("deployment_mode"), "expressionEvaluationOptions": {"scope": "inner"},
                      "parameters": json.loads(logs.pop("parameters_content")), "template": json.loads(logs.pop("template_content"))}  # fmt: skip
        add("Microsoft.Resources/deployments", logs, properties)
    for link in module.of_type("azurerm_monitor_data_collection_rule_association"):
        rule = link["data_collection_rule_id"].replace("GROUP/providers/", "")
        key = f"{link['target_resource_id']}/{resource_id('Microsoft.Insights/dataCollectionRuleAssociations', link['name'])}"
        made[key] = {"properties": {"dataCollectionRuleId": rule}, "scope": link["target_resource_id"]}
    return made
