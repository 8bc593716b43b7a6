"""Checks the samples in config/logging, and the queries in docs/siem.md, with lines of a query log.

The lines are those below, and those of the file in the argument, which namegate wrote. Each check must also reject a sample with a
planted fault.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb_kql
import hcl2
import jsonschema
import yaml
from azure.mgmt.monitor.models import DataCollectionRuleResource
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

FOLDER = Path("config/logging")
TABLE = "NamegateQueries_CL"

# What namegate writes: query lines, and one line of the operational log, which no mapping may take for a query.
LINES = [
    {
        "time": "2026-11-29T23:42:42.533Z", "event": "query", "decision": "blocked", "client": "10.1.2.3", "group": "build",
        "protocol": "udp", "name": "exfiltrate.example.com", "type": "A", "reason": "denied", "rule": "*.example.com",
        "place": "zones/own.toml:3", "purpose": "known bad", "owner": "secops", "ticket": "SEC-1", "rcode": "nxdomain",
        "source": "policy", "latency_seconds": 0.000295,
    },
    {
        "time": "2026-11-29T23:42:43.000Z", "event": "query", "decision": "allowed", "client": "fd00::7", "protocol": "tcp",
        "name": "ml.azure.com", "type": "AAAA", "rule": "ml.azure.com", "place": "azure-ml:12", "rcode": "servfail",
        "source": "upstream", "upstream": "168.63.129.16:53", "latency_seconds": 4.1, "sample": 100,
    },
    {
        "time": "2026-11-29T23:42:44.001Z", "event": "query", "decision": "observed", "client": "10.1.2.0/24", "protocol": "udp",
        "name": "new.example.net", "type": "HTTPS", "reason": "not_listed", "rcode": "noerror", "source": "cache",
        "latency_seconds": 0.00002, "answers": ["new.example.net. 60 IN HTTPS 1 ."],
    },
    {"time": "2026-11-29T23:42:45.000Z", "level": "info", "event": "reloaded", "message": "reloaded: 5 rules"},
]  # fmt: skip

# What becomes of LINES: for the OCSF event and the ASIM record of each query, some of its fields.
OCSF = [
    {
        "time": 1795995762533, "disposition_id": 2, "action_id": 2, "rcode_id": 3, "status_id": 1,
        "src_endpoint": {"ip": "10.1.2.3"}, "status_detail": "denied", "message": "blocked exfiltrate.example.com A", "duration": 0,
        "firewall_rule": {"name": "*.example.com", "uid": "zones/own.toml:3", "desc": "known bad"},
        "query": {"hostname": "exfiltrate.example.com", "type": "A", "opcode_id": 0},
    },
    {"disposition_id": 1, "rcode": "ServError", "status_id": 2, "src_endpoint": {"ip": "fd00::7"}, "duration": 4100, "count": 100},
    {"disposition_id": 17, "action_id": 3, "src_endpoint": {"name": "10.1.2.0/24"}},
]  # fmt: skip
ASIM = [
    {
        "EventResult": "Failure", "EventResultDetails": "NXDOMAIN", "DvcAction": "Blocked", "SrcIpAddr": "10.1.2.3", "EventCount": 1,
        "DnsQuery": "exfiltrate.example.com", "DnsQueryTypeName": "A", "NetworkProtocol": "UDP", "Rule": "*.example.com",
    },
    {"EventResult": "Failure", "EventResultDetails": "SERVFAIL", "DvcAction": "Allowed", "DnsNetworkDuration": 4100, "EventCount": 100},
    {"EventResult": "Success", "DvcAction": "Allowed", "DvcOriginalAction": "observed"},
]  # fmt: skip
# Rows of the other queries: some columns of each.
ROWS = {
    "kql/blocked-by-client.kql": [{"Client": "10.1.2.3", "Name": "exfiltrate.example.com", "Reason": "denied", "Lookups": 1}],
    "kql/first-seen.kql": [{"Name": "exfiltrate.example.com", "Clients": 1}, {"Name": "new.example.net", "Reason": "not_listed"}],
    "kql/servfail.kql": [{"Servfails": 100, "Replies": 101, "Percent": 99.0}],
}
# Mandatory fields of ASIM's DNS schema 0.1.7, with their types.
ASIM_MANDATORY = {
    "EventCount": "int", "EventStartTime": "datetime", "EventEndTime": "datetime", "EventType": "string", "EventResult": "string",
    "EventResultDetails": "string", "EventProduct": "string", "EventVendor": "string", "EventSchema": "string",
    "EventSchemaVersion": "string", "Dvc": "string", "DnsQuery": "string", "SrcIpAddr": "string", "DnsNetworkDuration": "int",
}  # fmt: skip
# Functions that transformations of Azure Monitor may use, of those listed on
# https://learn.microsoft.com/azure/azure-monitor/data-collection/data-collection-transformations-kql (2026-01-20).
TRANSFORM_FUNCTIONS = {"parse_json", "tostring", "todatetime", "todouble", "tolong", "iif", "isnull"}


class Invalid(Exception):
    """The sample is not what its program reads, or does not do what it says."""


def require(holds, message):
    if not holds:
        raise Invalid(message)


def require_fields(wanted, got, what):
    require(len(got) == len(wanted), f"{what}: {len(got)} records instead of {len(wanted)}: {got}")
    for fields, record in zip(wanted, got):
        for key, value in fields.items():
            require(record.get(key) == value, f"{what}: {key} is {record.get(key)!r} instead of {value!r}")


def query_lines(lines):
    return [line for line in lines if line.get("event") == "query"]


# OCSF, and Vector's configuration


def ocsf_events(program, lines):
    with tempfile.TemporaryDirectory() as work:
        (Path(work) / "program.vrl").write_text(program)
        # As Vector's file source makes them.
        records = [json.dumps({"message": json.dumps(line), "host": "gate-1", "file": "queries.json"}) for line in lines]
        (Path(work) / "input.json").write_text("\n".join(records) + "\n")
        command = ["vrl", "--quiet", "--print-object", "--input", f"{work}/input.json", "--program", f"{work}/program.vrl"]
        done = subprocess.run(command, capture_output=True, text=True)
    require(done.returncode == 0, done.stderr.strip())
    events = [json.loads(line) for line in done.stdout.splitlines()]
    require(len(events) == len(query_lines(lines)), f"{len(events)} events: {done.stderr.strip()}")
    return events


def check_ocsf(samples, lines):
    published = get_ocsf_schema("1.8.0")
    attributes = published["classes"]["dns_activity"]["attributes"]
    schema = OcsfJsonSchemaEmbedded(published).get_class_schema("dns_activity", ["security_control"])
    validator = jsonschema.Draft202012Validator(schema)
    for event in ocsf_events(samples["ocsf.vrl"], lines):
        for error in validator.iter_errors(event):
            raise Invalid(f"{error.json_path}: {error.message[:300]}")
        require("src_endpoint" in event or "dst_endpoint" in event, "an event needs an endpoint")
        require(event["type_uid"] == event["class_uid"] * 100 + event["activity_id"], "type_uid")
        require(event["rcode"] == attributes["rcode_id"]["enum"][str(event["rcode_id"])]["caption"], f"rcode {event['rcode']}")
        require(event["rcode_id"] != 99 and event["disposition_id"] != 99, f"{event} is not mapped")
    require_fields(OCSF, ocsf_events(samples["ocsf.vrl"], LINES), "ocsf.vrl")


def check_vector(samples, _):
    settings = yaml.safe_load(samples["vector.yaml"])
    require(set(settings) == {"sources", "transforms", "sinks"}, f"parts {set(settings)}")
    known = {name for part in ("sources", "transforms") for name in settings[part]}
    for name, step in (settings["transforms"] | settings["sinks"]).items():
        require(set(step["inputs"]) <= known, f"{name}: no such input: {step['inputs']}")
    require(settings["sources"]["namegate"]["include"] == ["/var/log/namegate/queries.json"], "the file that docs/siem.md sets")
    programs = [step["file"] for step in settings["transforms"].values() if step["type"] == "remap"]
    require([Path(program).name for program in programs] == ["ocsf.vrl"], f"programs {programs}")


# Loki


def check_alloy(samples, _):
    # Alloy's syntax is HCL's, but for dots in the names of blocks.
    names = re.compile(r'^(\s*)([a-z_]+(?:\.[a-z_]+)+)( "\w+")? \{', re.MULTILINE)
    text = names.sub(lambda match: match[0].replace(match[2], match[2].replace(".", "_")), samples["loki.alloy"])
    try:
        hcl2.loads(text)
    except Exception as error:
        raise Invalid(f"loki.alloy: {error}") from error
    blocks = {match[2] + "." + match[3].strip(' "') for match in names.finditer(samples["loki.alloy"]) if match[3]}
    uses = set(re.findall(r"\b(\w+(?:\.\w+)+)\.(?:receiver|targets)\b", samples["loki.alloy"]))
    require(uses and uses == blocks - {"loki.source.file.namegate"}, f"blocks {blocks}, of which used: {uses}")
    extracted = set(re.findall(r'^\s+"(\w+)"\s+= "\1",$', samples["loki.alloy"], re.MULTILINE))
    stages = r'(?:stage\.labels|stage\.structured_metadata) \{\s+values = \{([^}]*)\}|source = ("\w+")'
    taken = {name for match in re.findall(stages, samples["loki.alloy"]) for name in re.findall(r'"(\w+)"', "".join(match))}
    require(taken == extracted, f"extracted: {extracted}, used: {taken}")
    fields = set().union(*map(set, query_lines(LINES)))
    require(extracted <= fields, f"{extracted - fields} are not in the log")


# Azure Monitor, Microsoft Sentinel


def read_queries(tables, kql, logql):
    request = json.dumps({"tables": tables, "kql": kql, "logql": logql})
    done = subprocess.run(["node", ".ci/samples.js"], input=request, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"samples.js: {done.stderr}")
    read = json.loads(done.stdout)
    for name, result in (read["kql"] | read["logql"]).items():
        require(not result["errors"], f"{name}: {result['errors']}")
    return {name: result["columns"] for name, result in read["kql"].items()}


def azure(samples):
    """The columns of the table, the rule, and the columns of its stream."""
    table, rule = json.loads(samples["azure-monitor.json"])["resources"]
    declared = next(iter(rule["properties"]["streamDeclarations"].values()))["columns"]
    columns = table["properties"]["schema"]["columns"]
    return {column["name"]: column["type"].lower() for column in columns}, rule, {column["name"]: column["type"] for column in declared}


def declaration(columns):
    return ", ".join(f"{name}: {kind}" for name, kind in columns.items())


def as_function(text):
    """The text of a saved function, with its parameters at their defaults."""
    parameters = re.search(r"^// (starttime:.*)$", text, re.MULTILINE)
    if not parameters:
        return text
    values = re.findall(r"(\w+):\w+=((?:[^,()]|\([^()]*\))+)", parameters[1])
    require(len(values) == 9, f"parameters {values}")
    return "".join(f"let {name} = {value};\n" for name, value in values) + text


def all_kql(samples):
    return {name: as_function(text) for name, text in samples.items() if name.startswith("kql/")}


def table_of(samples, lines):
    """A table like the one in the workspace, filled by the rule's transformation an hour ago."""
    columns, rule, _ = azure(samples)
    connection = duckdb_kql.connect()
    connection.sql("create table source (TimeGenerated timestamp, RawData varchar, FilePath varchar, Computer varchar)")
    for line in lines:
        connection.execute("insert into source values (now()::timestamp, ?, '', 'gate-1')", [json.dumps(line)])
    transform = duckdb_kql.to_sql(rule["properties"]["dataFlows"][0]["transformKql"])
    connection.sql(f"create table {TABLE} as {transform}")
    require(connection.table(TABLE).columns == list(columns), "the transformation has the table's columns in another order")
    return connection


def rows(connection, text):
    try:
        result = duckdb_kql.query(connection, text)
    except duckdb_kql.KqlError as error:
        raise Invalid(str(error)) from error
    return [dict(zip(result.columns, row)) for row in result.fetchall()]


def check_rule(samples, lines):
    columns, rule, declared = azure(samples)
    known = DataCollectionRuleResource.deserialize(rule).serialize()["properties"]
    require(known == rule["properties"], f"fields unknown to Azure Monitor, which has {known}")
    properties = rule["properties"]
    (flow,), (source,), (destination,) = properties["dataFlows"], properties["dataSources"]["logFiles"], properties["destinations"]["logAnalytics"]
    require(flow["streams"] == source["streams"] == list(properties["streamDeclarations"]), "streams differ")
    require(flow["destinations"] == [destination["name"]], "the destination does not exist")
    require(flow["outputStream"] == f"Custom-{TABLE}", "the output stream is another table")
    transform = flow["transformKql"]
    unsupported = set(re.findall(r"\b(\w+)\(", transform)) - TRANSFORM_FUNCTIONS
    require(not unsupported, f"a transformation may not use {unsupported}")
    result = read_queries({"source": declaration(declared)}, {"transformKql": transform}, {})["transformKql"]
    require(result == columns, f"the transformation yields {result}, the table has {columns}")
    records = rows(table_of(samples, lines), TABLE)
    require(len(records) == len(query_lines(lines)), f"{len(records)} rows of {len(query_lines(lines))} query lines")
    require(all(record["Name"] and record["TimeGenerated"] for record in records), f"a row lacks name or time: {records}")


def check_queries(samples, _):
    read_queries({TABLE: declaration(azure(samples)[0])}, all_kql(samples), {})
    connection = table_of(samples, LINES)
    for name, wanted in ROWS.items():
        # Last night for one query, an hour ago for the others.
        moment = "date_trunc('day', now()::timestamp)" if "night" in samples[name] else "now()::timestamp - interval 1 hour"
        connection.sql(f"update {TABLE} set TimeGenerated = {moment}")
        found = sorted(rows(connection, samples[name]), key=lambda row: str(row.get("Name")))
        require_fields(wanted, found, name)
        connection.sql(f"update {TABLE} set TimeGenerated = now()::timestamp - interval 40 day")
        require(not rows(connection, samples[name]), f"{name} shows last month")


def check_asim(samples, _):
    name = "kql/vimDnsNamegate.kql"
    result = read_queries({TABLE: declaration(azure(samples)[0])}, {name: as_function(samples[name])}, {})[name]
    for field, kind in ASIM_MANDATORY.items():
        require(result.get(field) == kind, f"{field} is {result.get(field)} instead of {kind}")
    connection = table_of(samples, LINES)
    found = sorted(rows(connection, as_function(samples[name])), key=lambda row: str(row["TimeGenerated"]))
    require_fields(ASIM, found, name)
    for parameter, kept in {
        "srcipaddr = '10.1.2.3'": 1, "responsecodename = 'SERVFAIL'": 1, "responsecodename = 'REFUSED'": 0, "disabled = true": 0,
        "eventtype = 'Query'": 3, "response_has_ipv4 = '192.0.2.1'": 0, "domain_has_any = dynamic(['example.com', 'example.net'])": 2,
        "starttime = datetime(2026-11-29T23:42:43Z)": 2, "endtime = datetime(2026-11-29T23:42:43Z)": 2,
    }.items():  # fmt: skip
        key = parameter.split(" = ")[0]
        text = re.sub(f"let {key} = .*;", lambda _: f"let {parameter};", as_function(samples[name]))
        count = len(rows(connection, text))
        require(count == kept, f"{name} with {parameter} keeps {count} records instead of {kept}")


def check_page(samples, _):
    blocks = re.findall(r"^```(\w+)\n(.*?)^```", samples["docs/siem.md"], re.MULTILINE | re.DOTALL)
    kql = {f"docs/siem.md: {text}": text for kind, text in blocks if kind == "kusto"}
    logql = {f"docs/siem.md: {text}": text for kind, text in blocks if kind == "logql"}
    require(logql, "docs/siem.md has no LogQL")
    read_queries({TABLE: declaration(azure(samples)[0])}, kql, logql)
    for name in samples:
        link = f"../config/logging/{name}"
        require(name == "docs/siem.md" or link in samples["docs/siem.md"], f"docs/siem.md does not lead to {name}")


# A fault for each kind of mistake that a check must find: check, sample, text, replacement.
FAULTS = [
    (check_ocsf, "ocsf.vrl", "line = object!(", "line = object!("[:-1]),
    (check_ocsf, "ocsf.vrl", '"class_uid": 4003', '"class_uid": 4002'),
    (check_ocsf, "ocsf.vrl", '{ "hostname": line.name', '{ "host": line.name'),
    (check_ocsf, "ocsf.vrl", '"caption": "NXDomain"', '"caption": "NXDOMAIN"'),
    (check_ocsf, "ocsf.vrl", 'line.event != "query"', 'line.event == "query"'),
    (check_ocsf, "ocsf.vrl", '"disposition_id": 2 }', '"disposition_id": 1 }'),
    (check_vector, "vector.yaml", "inputs: [namegate_ocsf]", "inputs: [namegate_oscf]"),
    (check_alloy, "loki.alloy", "[loki.write.namegate.receiver]", "[loki.write.default.receiver]"),
    (check_alloy, "loki.alloy", 'source = "time"', 'source = "time'),
    (check_alloy, "loki.alloy", '"reason" = "reason" }', '"cause" = "cause" }'),
    (check_rule, "azure-monitor.json", '"filePatterns"', '"filePattern"'),
    (check_rule, "azure-monitor.json", "parse_json(RawData)", "parse_json(Rawdata)"),
    (check_rule, "azure-monitor.json", "iif(isnull", "coalesce(isnull"),
    (check_rule, "azure-monitor.json", '"LatencySeconds", "type": "real"', '"LatencySeconds", "type": "string"'),
    (check_rule, "azure-monitor.json", 'where tostring(d.event) == \\"query\\"', 'where tostring(d.event) != \\"\\"'),
    (check_queries, "kql/first-seen.kql", "distinct Name", "distinct name"),
    (check_queries, "kql/servfail.kql", '"servfail"', '"SERVFAIL"'),
    (check_queries, "kql/blocked-by-client.kql", "between (From .. To)", "> From - 100d"),
    (check_asim, "kql/vimDnsNamegate.kql", "DnsQuery = Name", "Query = Name"),
    (check_asim, "kql/vimDnsNamegate.kql", "responsecodename:string='*', ", ""),
    (check_asim, "kql/vimDnsNamegate.kql", "ResponseCode =~ responsecodename", "ResponseCode == responsecodename"),
    (check_page, "docs/siem.md", "| json", "| json |"),
    (check_page, "docs/siem.md", "../config/logging/vector.yaml", "../config/vector.yaml"),
]


def main():
    logged = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    require({line["decision"] for line in logged} >= {"allowed", "blocked"}, f"the query log has only {logged}")
    require(len(query_lines(logged)) == len(logged), f"a line of the query log is not an event `query`: {logged[0]}")
    lines = LINES + logged
    samples = {str(path.relative_to(FOLDER)): path.read_text() for path in sorted(FOLDER.rglob("*")) if path.is_file()}
    samples["docs/siem.md"] = Path("docs/siem.md").read_text()
    checks = [check_ocsf, check_vector, check_alloy, check_rule, check_queries, check_asim, check_page]
    for check in checks:
        check(samples, lines)
        print(f"{check.__name__[6:]}: good")
    for check, name, text, fault in FAULTS:
        require(text in samples[name], f"{name} lacks {text!r}, in which a fault is to be planted")
        try:
            check(samples | {name: samples[name].replace(text, fault, 1)}, lines)
        except Invalid:
            continue
        raise Invalid(f"{check.__name__} does not notice {fault!r} in {name}")
    require({fault[0] for fault in FAULTS} == set(checks), "a check has no planted fault")
    print(f"{len(samples)} samples, {len(lines)} lines, {len(FAULTS)} planted faults found")


if __name__ == "__main__":
    try:
        main()
    except Invalid as invalid:
        sys.exit(f"FAULT: {invalid}")
