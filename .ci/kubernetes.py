"""Checks the chart and the manifests in deploy/, as Helm renders them.

Each check must also reject a planted fault. With `--write`, this script writes the generated files in deploy/kubernetes.
"""

import ipaddress
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import kubernetes_validate
import yaml

CHART = "deploy/helm/namegate"
PLAIN = Path("deploy/kubernetes")
# The oldest version that the chart admits, and the newest one whose schema is known here.
VERSIONS = ("1.30", "1.37")
HEADER = "# Written by `.ci/kubernetes --write` from the chart in deploy/helm: change that instead.\n"

# What is rendered: the file in deploy/kubernetes, and the arguments for Helm.
SETS = {
    "deployment": [],
    "aks": ["--values", "deploy/helm/aks.yaml"],
    "daemonset": ["--values", "deploy/helm/daemonset.yaml"],
    "monitoring": ["--set", "monitoring=true", "--show-only", "templates/monitoring.yaml"],
}
# Not a file: everything that can be set, in a release of another name.
ALL = [
    "--values", "deploy/helm/aks.yaml", "--set", "monitoring=true", "--set", "secretName=tokens", "--set", "image.tag=1.2.3",
    "--set-json", 'networkPolicy.clients=[{"ipBlock":{"cidr":"10.0.0.0/8"}}]',
]  # fmt: skip
# What the chart must refuse.
REFUSED = [
    ["--set", "service.type=LoadBalancer"],
    ["--set", "image.tag=latest"],
    ["--set", "replica=3"],
    ["--set", "kind=StatefulSet"],
    ["--set", "resources.limits=null"],
    ["--set-json", "networkPolicy.egress=[]"],
    ["--set-json", 'networkPolicy.egress=[{"to":[]}]'],
    ["--set-json", 'allowlists={"own.txt":""}'],
    ["--kube-version", "1.29.0"],
]


class Invalid(Exception):
    """The chart or a manifest is not as it must be."""


def require(holds, message):
    if not holds:
        raise Invalid(message)


def helm(*arguments):
    done = subprocess.run(["helm", *arguments], capture_output=True, text=True)
    return done.returncode == 0, done.stdout if done.returncode == 0 else done.stderr


def template(name, arguments):
    done, output = helm("template", name, CHART, "--kube-version", VERSIONS[0], *arguments)
    require(done, f"helm template {name} {arguments}: {output}")
    return output


def resources(text):
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(text, *kinds):
    return [resource for resource in resources(text) if resource["kind"] in kinds]


def only(found):
    require(len(found) == 1, f"{len(found)} resources where one is expected")
    return found[0]


def workload(text):
    return only(of_kind(text, "Deployment", "DaemonSet"))


def container(text):
    return only(workload(text)["spec"]["template"]["spec"]["containers"])


def pod_labels(text):
    return workload(text)["spec"]["template"]["metadata"]["labels"]


def selects(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def settings(text):
    config = only([resource for resource in of_kind(text, "ConfigMap") if "namegate.toml" in resource["data"]])
    return tomllib.loads(config["data"]["namegate.toml"])


def port_of(address):
    return int(address.rpartition(":")[2])


# Each check takes what Helm rendered, by set; but for schemas and plain files, those with a workload.


def check_schema(rendered):
    known = []
    for name, text in rendered.items():
        for resource in resources(text):
            if resource["apiVersion"].startswith("monitoring.coreos.com/"):
                known.append(resource)
                continue
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(resource, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    raise Invalid(f"{name}, {resource['kind']}, Kubernetes {version}: {error.message}") from error
    package = f"{os.environ['NODE_PATH']}/@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index.js"
    command = ["node", ".ci/kubernetes.mjs", package]
    done = subprocess.run(command, input=json.dumps(known), capture_output=True, text=True, check=True)
    require(known, "nothing of the Prometheus operator was rendered")
    require(not json.loads(done.stdout), f"Prometheus operator: {done.stdout}")


def check_security(rendered):
    """The restricted Pod Security Standard, and a root file system that cannot be written."""
    for text in rendered.values():
        pod, main = workload(text)["spec"]["template"]["spec"], container(text)
        require(pod["automountServiceAccountToken"] is False, "the pod gets a service account token")
        require(not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), "the pod uses a namespace of the host")
        require(pod["securityContext"].get("runAsNonRoot") is True, "runAsNonRoot")
        require(pod["securityContext"].get("seccompProfile") == {"type": "RuntimeDefault"}, "seccompProfile")
        secured = main["securityContext"]
        require(secured.get("allowPrivilegeEscalation") is False, "allowPrivilegeEscalation")
        require(secured.get("readOnlyRootFilesystem") is True, "readOnlyRootFilesystem")
        require(secured.get("capabilities") == {"drop": ["ALL"]}, "capabilities")
        require(all(port["containerPort"] >= 1024 and "hostPort" not in port for port in main["ports"]), "a privileged port")
        require(all(mount.get("readOnly") for mount in main["volumeMounts"]), "a mount can be written")
        require(not any("subPath" in mount for mount in main["volumeMounts"]), "a file mounted with subPath never changes")
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        require(kinds <= {"configMap", "secret"}, f"volumes {kinds}")
        require(pod["dnsPolicy"] in ("Default", "None"), "namegate depends on the cluster's DNS")


def check_pod(rendered):
    for text in rendered.values():
        pod, main = workload(text)["spec"]["template"]["spec"], container(text)
        paths = {probe: main[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
        require(paths["readinessProbe"] == "/livez", "/readyz fails in all pods at once when the upstreams fail")
        require(paths["livenessProbe"] == "/livez", "a restart does not repair an upstream")
        require(paths["startupProbe"] == "/readyz", "a rollout whose pods reach no upstream must stop")
        patience = {probe: main[probe]["failureThreshold"] * main[probe]["periodSeconds"] for probe in paths}
        require(patience["livenessProbe"] > patience["readinessProbe"], "a pod is restarted before it is taken out")
        deadline = re.fullmatch(r"(\d+)ms", settings(text).get("upstream", {}).get("deadline", "4500ms"))
        drain = main["lifecycle"]["preStop"]["sleep"]["seconds"] + int(deadline[1]) / 1000 + 1
        require(pod["terminationGracePeriodSeconds"] > drain, f"the drain takes {drain} s")
        require(main["lifecycle"]["preStop"]["sleep"]["seconds"] > 10, "Azure needs 10 s to see that a node has no pod")
        for kind in ("requests", "limits"):
            require(set(main["resources"][kind]) == {"cpu", "memory"}, f"resources.{kind}")
        tag = main["image"].partition(":")[2]
        require(re.fullmatch(r"\d+\.\d+\.\d+", tag), f"the image has the tag {tag!r}")
        require(main["image"].endswith(f":{tag}") and tag != "latest", "the image has no tag")


def check_rollout(rendered):
    for text in rendered.values():
        spec, labels = workload(text)["spec"], pod_labels(text)
        require(selects(spec["selector"]["matchLabels"], labels), "the workload does not select its pods")
        strategy = spec.get("strategy") or spec.get("updateStrategy")
        require(strategy["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}, f"rollingUpdate {strategy}")
        if workload(text)["kind"] == "DaemonSet":
            continue
        require(spec["replicas"] >= 2, "one replica")
        spread = {rule["topologyKey"]: rule for rule in spec["template"]["spec"]["topologySpreadConstraints"]}
        require(set(spread) == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}, f"spread over {set(spread)}")
        require(all(selects(rule["labelSelector"]["matchLabels"], labels) for rule in spread.values()), "spread of other pods")
        require(spread["kubernetes.io/hostname"]["whenUnsatisfiable"] == "DoNotSchedule", "two pods can share a node")
        budget = only(of_kind(text, "PodDisruptionBudget"))["spec"]
        require(selects(budget["selector"]["matchLabels"], labels), "the PodDisruptionBudget selects no pod")
        require(budget.get("maxUnavailable") == 1, "the PodDisruptionBudget permits no eviction, or too many")


def check_service(rendered):
    for text in rendered.values():
        ports = {port["name"]: (port["protocol"], port["containerPort"]) for port in container(text)["ports"]}
        service = only([found for found in of_kind(text, "Service") if found["spec"].get("clusterIP") != "None"])
        require(selects(service["spec"]["selector"], pod_labels(text)), "the Service selects no pod")
        served = {(port["protocol"], port["port"]) for port in service["spec"]["ports"]}
        require(served == {("UDP", 53), ("TCP", 53)}, f"the Service has {served}")
        require(all(ports[port["targetPort"]][0] == port["protocol"] for port in service["spec"]["ports"]), "targetPort")
        listen = {port_of(address) for address in settings(text)["server"]["listen"]}
        require(listen == {ports["dns-udp"][1]} == {ports["dns-tcp"][1]}, f"namegate listens on {listen}, not {ports}")
        require(port_of(settings(text)["admin"]["listen"]) == ports["admin"][1], "the admin port is another")
        if service["spec"]["type"] == "LoadBalancer":
            annotations = service["metadata"]["annotations"]
            prefix = "service.beta.kubernetes.io/azure-load-balancer-"
            require(annotations.get(f"{prefix}internal") == "true", "the load balancer is public")
            require(ipaddress.ip_address(annotations[f"{prefix}ipv4"]).is_private, "the address is public")
            require(service["spec"].get("externalTrafficPolicy") == "Local", "clients lose their addresses")
    require(any("type: LoadBalancer" in text for text in rendered.values()), "no load balancer was rendered")


def check_network(rendered):
    for text in rendered.values():
        policy = only(of_kind(text, "NetworkPolicy"))["spec"]
        require(selects(policy["podSelector"]["matchLabels"], pod_labels(text)), "the NetworkPolicy selects no pod")
        require(set(policy["policyTypes"]) == {"Ingress", "Egress"}, "the NetworkPolicy leaves a direction open")
        ports = {(port["protocol"], port["containerPort"]) for port in container(text)["ports"]}
        opened = [(port["protocol"], port["port"]) for rule in policy["ingress"] for port in rule["ports"]]
        require(set(opened) == ports and len(opened) == len(ports), f"the NetworkPolicy opens {opened}, the pod {ports}")
        for rule in policy["ingress"]:
            require(rule.get("from") or ("TCP", 9153) not in [(p["protocol"], p["port"]) for p in rule["ports"]], "admin port open")
        reach = {
            (peer["ipBlock"]["cidr"], port["protocol"], port["port"])
            for rule in policy["egress"] for peer in rule["to"] for port in rule["ports"]
        }  # fmt: skip
        servers = settings(text)["upstream"]["servers"]
        wanted = {(f"{ipaddress.ip_address(server)}/32", protocol, 53) for server in servers for protocol in ("UDP", "TCP")}
        require(reach == wanted, f"egress to {reach}, upstreams {wanted}")


def check_settings(rendered):
    """The files, as the pod has them, pass `namegate check`."""
    for name, text in rendered.items():
        with tempfile.TemporaryDirectory() as work:
            pod = workload(text)["spec"]["template"]["spec"]
            maps = {found["metadata"]["name"]: found["data"] for found in of_kind(text, "ConfigMap")}
            volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
            for mount in container(text)["volumeMounts"]:
                folder = Path(work + mount["mountPath"])
                folder.mkdir(parents=True)
                for file, content in maps.get(volumes.get(mount["name"]), {}).items():
                    (folder / file).write_text(content)
            (variable,) = container(text)["env"]
            require(variable["name"] == "NAMEGATE_CONFIG", f"variable {variable}")
            command = [os.environ["NAMEGATE_BINARY"], "check", "--files-only", "--config", work + variable["value"]]
            done = subprocess.run(command, capture_output=True, text=True)
            require(done.returncode == 0 and "own (0)" in done.stdout, f"{name}: {done.stderr}{done.stdout}")


def check_monitoring(rendered):
    files = [yaml.safe_load(Path(f"config/prometheus/{file}.yml").read_text()) for file in ("rules", "alerts")]
    groups = [group for file in files for group in file["groups"]]
    for text in rendered.values():
        for rule in of_kind(text, "PrometheusRule"):
            require(rule["spec"]["groups"] == groups, "the PrometheusRule is not config/prometheus")
        for monitor in of_kind(text, "ServiceMonitor"):
            wanted = monitor["spec"]["selector"]["matchLabels"]
            service = only([found for found in of_kind(text, "Service") if selects(wanted, found["metadata"]["labels"])])
            require(service["spec"]["clusterIP"] == "None", "a scrape must reach each pod by itself")
            require(selects(service["spec"]["selector"], pod_labels(text)), "the admin Service selects no pod")
            require(service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "namegate", "the alerts need the job `namegate`")
            scraped = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
            require(scraped == {port["name"] for port in service["spec"]["ports"]} == {"admin"}, f"ports {scraped}")
    require(any(of_kind(text, "PrometheusRule") for text in rendered.values()), "no PrometheusRule was rendered")


def check_plain(files):
    """The generated files are what the chart makes, and each is in docs/kubernetes.md."""
    page = Path("docs/kubernetes.md").read_text()
    for name, arguments in SETS.items():
        require(files[f"{name}.yaml"] == plain(arguments), f"{PLAIN / name}.yaml is not the chart's: run .ci/kubernetes --write")
    for name in files:
        require(f"deploy/kubernetes/{name}" in page, f"docs/kubernetes.md does not name deploy/kubernetes/{name}")
    with tempfile.TemporaryDirectory() as work:
        for name, text in files.items():
            (Path(work) / name).write_text(text)
        done = subprocess.run(["kubectl", "kustomize", work], capture_output=True, text=True)
        require(done.returncode == 0, done.stderr)
        made = resources(done.stdout)
        images = re.findall(r"image: (\S+)", done.stdout)
    require(all(resource["metadata"]["namespace"] == "namegate" for resource in made), "the namespace is not set")
    require(images == [f"registry.corp.example/namegate:{chart()['appVersion']}"], f"the image is not replaced: {images}")
    custom = only(resources(files["coredns-custom.yaml"]))
    address = yaml.safe_load(Path("deploy/helm/aks.yaml").read_text())["service"]["annotations"]
    for key, corefile in custom["data"].items():
        require(key.endswith(".server"), f"CoreDNS does not read {key} as a server block")
        require(corefile.count("{") == corefile.count("}") > 0, f"{key}: braces")
        require("forward . " + address["service.beta.kubernetes.io/azure-load-balancer-ipv4"] in corefile, f"{key}: address")
        require(not re.search(r"^\.:53", corefile, re.MULTILINE), "AKS has a block for `.` already")


def plain(arguments):
    text = re.sub(r"^# Source: .*\n|[ ]+$", "", template("namegate", arguments), flags=re.MULTILINE)
    return HEADER + re.sub(r"\n+---", "\n---", text).removeprefix("---\n")


def chart():
    return yaml.safe_load(Path(f"{CHART}/Chart.yaml").read_text())


def check_chart():
    done, output = helm("lint", "--strict", "--quiet", CHART)
    require(done, output)
    for arguments in REFUSED:
        done, _ = helm("template", "namegate", CHART, *arguments)
        require(not done, f"the chart does not refuse {arguments}")
    version = tomllib.loads(Path("Cargo.toml").read_text())["package"]["version"]
    require(chart()["version"] == chart()["appVersion"] == version, f"the chart is not {version}")
    lines = Path(f"{CHART}/values.yaml").read_text().splitlines()
    for number, line in enumerate(lines):
        if re.match(r"[a-zA-Z]+:", line) and not line.startswith(("image:", "service:", "networkPolicy:", "resources:", "tolerations:")):
            require(lines[number - 1].startswith("#"), f"values.yaml:{number + 1} has no comment")
    for file in ("alerts", "rules"):
        require(Path(f"{CHART}/files/{file}.yml").resolve() == Path(f"config/prometheus/{file}.yml").resolve(), f"{file}.yml is a copy")
    with tempfile.TemporaryDirectory() as work:
        done, output = helm("package", CHART, "--destination", work)
        require(done, output)
        # A package holds the files, not the links.
        packed = template_of(next(Path(work).iterdir()))
        require(packed == template("namegate", ["--set", "monitoring=true"]), "the packed chart renders something else")


def template_of(package):
    done, output = helm("template", "namegate", str(package), "--kube-version", VERSIONS[0], "--set", "monitoring=true")
    require(done, output)
    return output


GET = "\n            httpGet:\n              path:"
# A fault for each kind of mistake that a check must find: check, set, text, replacement.
FAULTS = [
    (check_schema, "aks", "  replicas: 2", "  replica: 2"),
    (check_schema, "aks", "seconds: 15", 'seconds: "15"'),
    (check_service, "aks", "targetPort: dns-udp\n      protocol: UDP", "targetPort: dns-udp\n      protocol: SCTP"),
    (check_schema, "all", "  endpoints:", "  endpoint:"),
    (check_schema, "all", "for: 1m", "for: 1 minute"),
    (check_security, "deployment", "runAsNonRoot: true", "runAsNonRoot: false"),
    (check_security, "deployment", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
    (check_security, "deployment", "drop: [ALL]", "drop: [NET_RAW]"),
    (check_security, "deployment", "drop: [ALL]", "add: [NET_BIND_SERVICE]"),
    (check_security, "deployment", "type: RuntimeDefault", "type: Unconfined"),
    (check_security, "deployment", "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true"),
    (check_security, "deployment", "automountServiceAccountToken: false", "automountServiceAccountToken: true"),
    (check_security, "deployment", "containerPort: 1053", "containerPort: 53"),
    (check_security, "deployment", "mountPath: /etc/namegate/settings", "mountPath: /etc/namegate/settings\n              subPath: a"),
    (check_security, "deployment", "readOnly: true", "readOnly: false"),
    (check_security, "deployment", "dnsPolicy: Default", "dnsPolicy: ClusterFirst"),
    (check_security, "daemonset", "dnsPolicy: Default", "dnsPolicy: Default\n      hostNetwork: true"),
    (check_pod, "deployment", f"readinessProbe:{GET} /livez", f"readinessProbe:{GET} /readyz"),
    (check_pod, "deployment", f"livenessProbe:{GET} /livez", f"livenessProbe:{GET} /readyz"),
    (check_pod, "deployment", "path: /readyz", "path: /healthz"),
    (check_pod, "deployment", "failureThreshold: 6\n", "failureThreshold: 1\n"),
    (check_pod, "deployment", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 20"),
    (check_pod, "deployment", "seconds: 15", "seconds: 5"),
    (check_pod, "deployment", "              memory: 512Mi\n", ""),
    (check_pod, "deployment", 'image: "namegate:0.1.0"', 'image: "namegate:latest"'),
    (check_pod, "deployment", 'image: "namegate:0.1.0"', 'image: "namegate"'),
    (check_rollout, "deployment", "maxUnavailable: 0", "maxUnavailable: 1"),
    (check_rollout, "daemonset", "maxSurge: 1", "maxSurge: 0"),
    (check_rollout, "deployment", "replicas: 2", "replicas: 1"),
    (check_rollout, "deployment", "whenUnsatisfiable: DoNotSchedule", "whenUnsatisfiable: ScheduleAnyway"),
    (check_rollout, "deployment", "maxUnavailable: 1", "maxUnavailable: 0"),
    (check_rollout, "deployment", "topologyKey: topology.kubernetes.io/zone", "topologyKey: topology.kubernetes.io/region"),
    (check_service, "aks", "externalTrafficPolicy: Local", "externalTrafficPolicy: Cluster"),
    (check_service, "aks", 'azure-load-balancer-internal: "true"', 'azure-load-balancer-internal: "false"'),
    (check_service, "aks", "azure-load-balancer-ipv4: 10.0.0.53", "azure-load-balancer-ipv4: 20.0.0.53"),
    (check_service, "deployment", "targetPort: dns-tcp", "targetPort: dns-udp"),
    (check_service, "deployment", "      port: 53\n      targetPort: dns-tcp", "      port: 9153\n      targetPort: admin"),
    (check_service, "deployment", 'listen = ["0.0.0.0:1053"]', 'listen = ["0.0.0.0:53"]'),
    (check_service, "deployment", 'listen = "0.0.0.0:9153"', 'listen = "0.0.0.0:9154"'),
    (check_network, "deployment", "matchLabels:\n      app.kubernetes.io/name: namegate", "matchLabels:\n      app: namegate"),
    (check_network, "deployment", "policyTypes: [Ingress, Egress]", "policyTypes: [Ingress]"),
    (check_network, "deployment", "cidr: 168.63.129.16/32", "cidr: 0.0.0.0/0"),
    (check_network, "deployment", "168.63.129.16\"]", "168.63.129.16\", \"10.0.0.4\"]"),
    (check_network, "deployment", "      from:\n", "      other:\n"),
    (check_settings, "deployment", 'mode = "enforce"', 'mode = "enforced"'),
    (check_settings, "deployment", "# One pattern on each line", "on each line"),
    (check_settings, "deployment", "mountPath: /etc/namegate/allowlists", "mountPath: /etc/namegate/zones"),
    (check_settings, "deployment", "/etc/namegate/settings/namegate.toml", "/etc/namegate/namegate.toml"),
    (check_monitoring, "all", "severity: critical", "severity: warning"),
    (check_monitoring, "all", "alert: NamegateObserveMode", "alert: NamegateObserve"),
    (check_monitoring, "all", "jobLabel: app.kubernetes.io/name", "jobLabel: app.kubernetes.io/instance"),
    (check_monitoring, "all", "app.kubernetes.io/component: admin\nspec", "app.kubernetes.io/component: dns\nspec"),
    (check_plain, "deployment.yaml", "replicas: 2", "replicas: 3"),
    (check_plain, "monitoring.yaml", "interval: 15s", "interval: 30s"),
    (check_plain, "kustomization.yaml", "name: namegate\n", "name: other\n"),
    (check_plain, "kustomization.yaml", "- deployment.yaml", "- deployments.yaml"),
    (check_plain, "coredns-custom.yaml", "namegate.server", "namegate.conf"),
    (check_plain, "coredns-custom.yaml", "forward . 10.0.0.53", "forward . /etc/resolv.conf"),
]


def main():
    if sys.argv[1:] == ["--write"]:
        for name, arguments in SETS.items():
            (PLAIN / f"{name}.yaml").write_text(plain(arguments))
    check_chart()
    print(f"chart: good; refused what it must: {len(REFUSED)}")
    rendered = {name: template("namegate", arguments) for name, arguments in SETS.items() if name != "monitoring"}
    rendered["all"] = template("other", ALL)
    files = {path.name: path.read_text() for path in sorted(PLAIN.glob("*.yaml"))}
    checks = [check_schema, check_security, check_pod, check_rollout, check_service, check_network, check_settings, check_monitoring]
    inputs = {check: rendered for check in checks} | {check_plain: files}
    for check, texts in inputs.items():
        check(texts)
        print(f"{check.__name__[6:]}: good")
    for check, name, text, fault in FAULTS:
        texts = inputs[check]
        require(text in texts[name], f"{name} lacks {text!r}, in which a fault is to be planted")
        try:
            check(texts | {name: texts[name].replace(text, fault, 1)})
        except Invalid:
            continue
        raise Invalid(f"{check.__name__} does not notice {fault!r} in {name}")
    require({fault[0] for fault in FAULTS} == set(inputs), "a check has no planted fault")
    print(f"{len(rendered)} sets of values, {len(files)} files, {len(FAULTS)} planted faults found")


if __name__ == "__main__":
    try:
        main()
    except Invalid as invalid:
        sys.exit(f"FAULT: {invalid}")
