"""Runs the played manifests, in the namespaces that .ci/play makes: pods, clients, a change of a ConfigMap, a rollout.

This network is the clients'; it has a demo upstream behind 168.63.129.16, and a Service address like kube-proxy's. Three
network namespaces are nodes, each with a podman of its own.
"""

import itertools
import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

WORK = Path(os.environ["work"])
BINARY = os.environ["NAMEGATE_BINARY"]
SERVICE = "10.96.0.53"
IMAGE = "registry.corp.example/namegate:0.1.0"
NODES = {"a": "10.77.1.2", "b": "10.77.2.2", "c": "10.77.3.2"}
# Each query has a port that none had before: the kernel would lead one that it remembers to the same pod, even if that has
# stopped. A kube-proxy removes such entries.
PORTS = itertools.count(10000)


def require(holds, message):
    if not holds:
        sys.exit(f"FAULT: {message}")


def run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"FAULT: {' '.join(command)}: {done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        require(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.1)


# Nodes


def podman(node, *arguments, check=True):
    folder = WORK / node
    places = [f"--{kind}={folder / kind}" for kind in ("root", "runroot", "tmpdir", "volumepath", "network-config-dir")]
    options = ["--storage-driver=vfs", "--runtime=/usr/sbin/runc", "--cgroup-manager=cgroupfs", "--events-backend=file"]
    return run("nsenter", f"--net=/run/netns/{node}", "podman", *places, *options, *arguments, check=check)


def make_network():
    run("mount", "-t", "tmpfs", "none", "/run/netns")
    run("ip", "link", "set", "lo", "up")
    run("sysctl", "-q", "-w", "net.ipv4.conf.all.route_localnet=1")
    for name, address in NODES.items():
        gateway = address[:-1] + "1"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", f"to-{name}", "type", "veth", "peer", "name", "uplink", "netns", name)
        run("ip", "address", "add", f"{gateway}/24", "dev", f"to-{name}")
        run("ip", "link", "set", f"to-{name}", "up")
        for command in ("link set lo up", f"address add {address}/24 dev uplink", "link set uplink up", f"route add default via {gateway}"):
            run("ip", "-n", name, *command.split())
        run("nsenter", f"--net=/run/netns/{name}", "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
    # The demo upstream listens on loopback only. The Service's address needs a route before nftables rewrites it.
    run("ip", "route", "add", f"{SERVICE}/32", "dev", "to-a")
    run("nft", "add table ip play; add chain ip play nodes { type nat hook prerouting priority -100; };"
        "add rule ip play nodes ip daddr 168.63.129.16 meta l4proto { tcp, udp } th dport 53 dnat to 127.0.0.1:5300;"
        "add chain ip play clients { type nat hook output priority -100; }")  # fmt: skip


def serve_from(*nodes):
    """Lets the Service's address lead to these nodes, as kube-proxy does for the endpoints that are ready."""
    ends = ", ".join(f"{number} : {NODES[node]} . 1053" for number, node in enumerate(nodes))
    rule = f"ip daddr {SERVICE} meta l4proto {{ tcp, udp }} th dport 53 dnat to numgen random mod {len(nodes)} map {{ {ends} }}"
    run("nft", f"flush chain ip play clients; add rule ip play clients {rule}")


def play(node):
    podman(node, "play", "kube", str(WORK / "manifests.yaml"))
    # What the startup probe asks.
    wait_for(f"/readyz on node {node}", lambda: http(node, "/readyz") == 200)


def http(node, path):
    try:
        return urllib.request.urlopen(f"http://{NODES[node]}:9153{path}", timeout=3).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def write_config_map(node, name, file, text):
    """Replaces a file of a mounted ConfigMap as the kubelet does: a new directory, and a link to it that is renamed."""
    volume = WORK / node / "volumepath" / name / "_data"
    stamp = f"..{time.monotonic_ns()}"
    (volume / stamp).mkdir()
    (volume / stamp / file).write_text(text)
    for link, target in (("..data", stamp), (file, f"..data/{file}")):
        new = volume / f"{link}_tmp"
        new.symlink_to(target)
        new.rename(volume / link)


def metric(node, name):
    text = urllib.request.urlopen(f"http://{NODES[node]}:9153/metrics", timeout=3).read().decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


# Clients


def query(name, server, port=53, tcp=False, timeout=6):
    """The response code, and whether the reply has EDE 15 (Blocked); None without a reply."""
    identifier = random.randrange(65536)
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" + struct.pack(">HH", 1, 1)
    message = struct.pack(">HHHHHH", identifier, 0x0100, 1, 0, 0, 1) + question + b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)
    try:
        if tcp:
            with socket.create_connection((server, port), timeout, ("", next(PORTS))) as connection:
                connection.sendall(struct.pack(">H", len(message)) + message)
                reply = connection.makefile("rb").read(struct.unpack(">H", connection.recv(2, socket.MSG_WAITALL))[0])
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                udp.settimeout(timeout)
                udp.bind(("", next(PORTS)))
                udp.connect((server, port))
                udp.send(message)
                reply = udp.recv(4096)
    except (OSError, struct.error):
        return None
    require(reply[:2] == message[:2], "a reply has another ID")
    return reply[3] & 15, bool(re.search(rb"\x00\x0f..\x00\x0f", reply, re.DOTALL))


class Clients:
    """Threads that query the Service, each query from a port of its own and without a retry, until the block ends."""

    THREADS, PAUSE = 32, 0.015

    def __enter__(self):
        self.sent, self.lost, self.ended, self.start = itertools.count(), [], threading.Event(), time.monotonic()
        self.threads = [threading.Thread(target=self.ask, args=(number,)) for number in range(self.THREADS)]
        for thread in self.threads:
            thread.start()
        return self

    def ask(self, number):
        names = ["ml.azure.com", "exfiltrate.example.com", "demostorage.blob.core.windows.net"]
        due = time.monotonic()
        while not self.ended.wait(max(0, due - time.monotonic())):
            due += self.PAUSE
            name, tcp, at = random.choice(names), number % 8 == 0, time.monotonic()
            next(self.sent)
            if query(name, SERVICE, tcp=tcp, timeout=2) is None:
                self.lost.append((name, tcp, round(at, 2)))

    def __exit__(self, *_):
        self.ended.set()
        seconds = time.monotonic() - self.start
        for thread in self.threads:
            thread.join()
        self.sent = next(self.sent)
        self.rate = round(self.sent / seconds)


NXDOMAIN = 3


def check_pod():
    name = "namegate-pod-0-namegate"
    (inspected,) = json.loads(podman("a", "inspect", name))
    status = Path(f"/proc/{inspected['State']['Pid']}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for key, wanted in {"Uid": "65532", "CapEff": "0" * 16, "CapBnd": "0" * 16, "NoNewPrivs": "1", "Seccomp": "2"}.items():
        require(fields[key].split()[0] == wanted, f"{key} is {fields[key]}")
    require(inspected["HostConfig"]["ReadonlyRootfs"], "the root file system can be written")
    podman("a", "exec", name, "/usr/bin/namegate", "healthcheck")
    print("pod: user 65532, no capability, no new privileges, seccomp, read-only root; `namegate healthcheck` succeeds in it")


def check_answers():
    for tcp in (False, True):
        require(query("ml.azure.com", SERVICE, tcp=tcp) == (0, False), "an allowed name does not resolve")
        require(query("exfiltrate.example.com", SERVICE, tcp=tcp) == (NXDOMAIN, True), "a name is not blocked")
    print("answers: allowed and blocked, UDP and TCP, through the Service")


def is_blocked(name, node):
    return query(name, NODES[node], port=1053)[1]


def write_and_wait(text, what, holds):
    """Writes the allowlist on every node, and returns after how many seconds each has it."""
    start, seconds, left = time.monotonic(), {}, set(NODES)
    for node in NODES:
        write_config_map(node, "namegate-allowlists", "own.list", text)

    def have():
        for node in sorted(left):
            if holds(node):
                seconds[node] = f"{time.monotonic() - start:.1f} s"
                left.remove(node)
        return not left

    wait_for(what, have, 30)
    return ", ".join(seconds[node] for node in NODES)


def check_config_map():
    name = "new.corp.example"
    require(all(is_blocked(name, node) for node in NODES), f"{name} is not blocked at first")
    reloads = metric("a", 'namegate_policy_reloads_total{result="success"}')
    added = write_and_wait(f"{name}    # added\n", "the changed allowlist", lambda node: not is_blocked(name, node))
    require(metric("a", 'namegate_policy_reloads_total{result="success"}') > reloads, "no reload is counted")
    write_and_wait("*.*.wrong\n", "a failed reload", lambda node: metric(node, "namegate_policy_last_reload_success") == 0)
    require(not any(is_blocked(name, node) for node in NODES), "a broken allowlist changed the policy")
    removed = write_and_wait("# nothing\n", "the allowlist without the name", lambda node: is_blocked(name, node))
    print(f"ConfigMap on three nodes: a name added after {added}; a broken file changes nothing; removed after {removed}")


def replace(old, new, pause):
    """A rollout with maxUnavailable 0, as the kubelet and kube-proxy do it; `pause` is preStop's sleep."""
    with Clients() as clients:
        time.sleep(1)
        play(new)
        serve_from(old, new)
        time.sleep(1)
        stopping = threading.Thread(target=stop, args=(old, pause))
        stopping.start()
        # What the control plane and kube-proxy need to take the pod out.
        time.sleep(1)
        serve_from(new)
        stopping.join()
        time.sleep(1)
    return clients


def stop(node, pause):
    time.sleep(pause)
    podman(node, "pod", "stop", "--time", "30", "namegate-pod-0")


def check_rollout():
    clients = replace("a", "b", pause=3)
    require(not clients.lost, f"{len(clients.lost)} of {clients.sent} queries lost in a rollout: {clients.lost[:5]}")
    (stopped,) = json.loads(podman("a", "inspect", "namegate-pod-0-namegate"))
    require(stopped["State"]["ExitCode"] == 0, f"the old pod ended with {stopped['State']['ExitCode']}")
    podman("a", "pod", "rm", "--force", "namegate-pod-0")
    print(f"rollout: 0 of {clients.sent} queries lost, at {clients.rate} a second")
    # Without preStop, what is sent between SIGTERM and the change of the Service is lost; if not, nothing was measured.
    clients = replace("b", "a", pause=0)
    require(clients.lost, "a pod that stops at once loses no query: the check cannot fail")
    podman("b", "pod", "rm", "--force", "namegate-pod-0")
    print(f"rollout without preStop: {len(clients.lost)} of {clients.sent} lost, as it must")


def check_upstream_down(upstream):
    upstream.terminate()
    upstream.wait()
    query("demostorage2.blob.core.windows.net", SERVICE)
    wait_for("/readyz without upstream", lambda: http("a", "/readyz") == 503, 40)
    require(http("a", "/livez") == 200, "/livez fails without an upstream: the pod would leave the Service")
    require(query("exfiltrate.example.com", SERVICE) == (NXDOMAIN, True), "a blocked name gets no answer without an upstream")
    print("upstream down: /readyz 503, /livez 200, blocked names are answered")


def main():
    conf = WORK / "containers.conf"
    # This machine may not raise these limits; podman's defaults would.
    conf.write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n'
        '[engine]\nlock_type = "file"\n[network]\nnetwork_backend = "netavark"\n'
    )
    os.environ["CONTAINERS_CONF"] = str(conf)
    make_network()
    command = [BINARY, "demo", "upstream", "--listen", "127.0.0.1:5300"]
    upstream = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for node in NODES:
        podman(node, "load", "--input", os.environ["image"])
        podman(node, "tag", "namegate:0.1.0", IMAGE)
        play(node)
    serve_from("a")
    check_pod()
    check_answers()
    check_config_map()
    for node in ("b", "c"):
        podman(node, "pod", "rm", "--force", "namegate-pod-0")
    check_rollout()
    check_upstream_down(upstream)
    podman("a", "pod", "rm", "--force", "namegate-pod-0")


if __name__ == "__main__":
    main()
