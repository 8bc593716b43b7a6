//! Tests the interfaces against texts in `tests/data/interface`: commands with output and exit codes, metrics, pages
//! and log lines.
//!
//! `UPDATE_EXPECT=1 cargo test interface` rewrites the texts; any difference is an interface change.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use expect_test::expect_file;
use serde_json::Value;
use tempfile::TempDir;

use crate::admin::token::{TOKEN, write_token};
use crate::support::command::namegate;
use crate::support::http::Http;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream, eventually};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// Every command that ends by itself and contacts no server, run with `--config` of the fixed input.
const COMMANDS: &[&[&str]] = &[
    // The shipped allowlists become outdated, whatever the day of the test.
    // Ports of this machine may be in use.
    &["check", "--files-only", "--allow", "outdated"],
    &["check", "--files-only", "--allow", "outdated", "--deny-warnings", "--all"],
    &["check", "--files-only", "--allow", "broad,inactive,outdated"],
    &["check", "--files-only", "--allow", "outdated", "--mode", "observe", "--zones", "r"],
    &["check", "--config", "nowhere.toml"],
    &["config"],
    &["config", "--listen", "127.0.0.9", "--upstream", "10.0.0.4", "--admin", "off", "--zones", "r,python"],
    &["explain", "ml.azure.com"],
    &["explain", "ws.westeurope.api.azureml.ms", "--client", "10.1.0.4"],
    &["explain", "a.blob.core.windows.net", "--client", "10.1.0.4", "--type", "AAAA"],
    &["explain", "proxy.corp.example", "--client", "10.1.0.4"],
    &["explain", "build.corp.example"],
    &["explain", "packages.team.example", "--json"],
    &["explain", "old.packages.team.example"],
    &["explain", "admin.notebooks.example", "--json"],
    &["explain", "x.search.azureml.ms"],
    &["explain", "lake.dfs.core.windows.net"],
    &["explain", "azureml.ms"],
    &["explain", "wpad"],
    &["explain", "use-application-dns.net"],
    &["explain", "https://evil.example:8443/path"],
    &["explain", "evil.example", "--client", "203.0.113.9"],
    &["explain", "a..b"],
    &["rules"],
    &["rules", "--group", "build"],
    &["rules", "--json"],
    &["rules", "--group", "nobody"],
    &["export", "azure-firewall"],
    &["export", "azure-dns-policy"],
    &["export", "azure-ml"],
    &["export", "azure-ai-foundry"],
    &["export", "route53"],
    &["export", "rpz"],
    &["export", "rpz", "--strict"],
    &["export", "unbound"],
    &["export", "dnsmasq"],
    &["export", "dnsmasq", "--widen"],
    &["export", "coredns"],
    &["export", "cilium"],
    &["export", "cilium", "--namespace", "training"],
    &["export", "cluster-network-policy"],
    &["export", "ztdns"],
    &["export", "ztdns", "--resolver", "tls://10.0.0.4#dns.example"],
    &["export", "rpz", "--vnet", "hub"],
    &["init", "--from", "azure/dependencies.json", "--listen", "10.0.0.4"],
    &["import", "azure-ml", "azure/dependencies.json"],
    &["import", "azure-ml", "azure/dependencies.json", "--wildcards"],
    &["import", "private-endpoint", "azure/nic.json"],
    &["import", "private-zone", "azure/record-sets.json"],
    &["import", "private-zone", "azure/zone-export.txt"],
    &["import", "rpz", "azure/policy.rpz"],
    &["import", "list", "azure/names.list"],
    &["import", "list", "azure/nic.json"],
    &["import", "list", "nowhere.list"],
    &["diff", "azure/dependencies.json"],
    &["diff", "azure/dependencies.json", "--needed-only"],
    &["diff", "azure/dependencies.json", "--json"],
    &["learn", "query.log", "--fold", "3"],
    &["learn", "query.log", "--json", "--min-count", "1"],
    &["learn", "nowhere.log"],
    &["prove", "--server", "127.0.0.1:9", "--admin", "127.0.0.1:9"],
    &["healthcheck", "--admin", "127.0.0.1:9"],
    &["top", "--once", "--admin", "127.0.0.1:9"],
    &["shadow", "--admin", "off"],
    &["allowed", "--admin", "127.0.0.1:9"],
    &["allow", "wanted.example", "--for", "1h", "--reason", "a test", "--admin", "127.0.0.1:9"],
    &["nonsense"],
    &["explain"],
];

/// A directory with the fixed input.
fn input() -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    copy(&Path::new(DATA).join("interface/input"), directory.path());
    copy(&Path::new(DATA).join("azure"), &directory.path().join("azure"));
    directory
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory can be made");
    for entry in fs::read_dir(from).expect("the fixed input").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), &to).expect("a file can be copied")),
        }
    }
}

/// One run as text: the command, its output, the exit code.
fn transcript(directory: &Path, arguments: &[&str]) -> String {
    let run = namegate(directory, arguments);
    let mut out = format!("$ namegate {}\n{}", arguments.join(" "), run.stdout);
    if !run.stderr.is_empty() {
        let _ = write!(out, "--- standard error\n{}", run.stderr);
    }
    let _ = write!(out, "--- exit {}\n\n", run.code);
    let day = |time| humantime::format_rfc3339_seconds(time).to_string()[..10].to_owned();
    let (today, tomorrow) =
        (day(SystemTime::now()), day(SystemTime::now() + Duration::from_secs(24 * 60 * 60)));
    // A grant of one hour that starts before midnight ends tomorrow.
    let out = out
        .replace(directory.to_str().expect("a path in UTF-8"), "{dir}")
        .replace(&today, "{today}")
        .replace(&format!("{tomorrow}T"), "{today}T");
    let mut times = out.split("{today}T");
    let first = times.next().unwrap_or_default().to_owned();
    times.fold(first, |out, rest| {
        out + "{now}" + rest.trim_start_matches(|c: char| c.is_ascii_digit() || ":.Z".contains(c))
    })
}

/// `text` with every number as 9 and every hash as `{hash}`, except exit codes.
fn without_numbers(text: &str) -> String {
    let word = |word: &str| match word.len() == 16 && word.chars().all(|c| c.is_ascii_hexdigit()) {
        true => "{hash}".to_owned(),
        false => word.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect(),
    };
    let line = |line: &str| match line.starts_with("--- exit") {
        true => line.to_owned(),
        false => {
            let mut out = String::new();
            let mut rest = line;
            while let Some(end) = rest.find(|c: char| !c.is_ascii_alphanumeric()) {
                let (before, after) = rest.split_at(end);
                let separator = after.chars().next().expect("a separator was found");
                out += &word(before);
                out.push(separator);
                rest = &after[separator.len_utf8()..];
            }
            out + &word(rest)
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// The words after `Commands:` in a help text.
fn commands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    lines.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn help_of_every_command() {
    let directory = input();
    let help = transcript(directory.path(), &["--help"]);
    let names = commands(&help);
    assert!(names.len() > 10, "{help}");
    let mut out = help;
    for name in names.iter().filter(|name| *name != "help") {
        let help = transcript(directory.path(), &[name, "--help"]);
        let below = commands(&help);
        out += &help;
        for below in below.iter().filter(|name| *name != "help") {
            out += &transcript(directory.path(), &[name, below, "--help"]);
        }
    }
    expect_file!["../data/interface/help.txt"].assert_eq(&out);
}

#[test]
fn output_of_every_command() {
    let directory = input();
    let mut out = String::new();
    for arguments in COMMANDS {
        let config: &[&str] =
            match arguments.contains(&"--config") || ["import", "init"].contains(&arguments[0]) {
                true => &[],
                false => &["--config", "namegate.toml"],
            };
        out += &transcript(directory.path(), &[arguments, config].concat());
    }
    expect_file!["../data/interface/commands.txt"].assert_eq(&out);
}

#[test]
fn reports_of_every_kind_of_faulty_file() {
    let directory = input();
    let mut out = transcript(directory.path(), &["check", "--config", "faulty.toml"]);
    let faulty = [
        ("bad.toml", "[policy]\nzones = [\"bad.toml\", \"bad.list\"]\n"),
        ("local", "[policy]\nzones = []\n[[local]]\norigin = \"corp.example\"\nfile = \"bad.zone\"\n"),
        ("shadow", "[policy]\nzones = []\nshadow = \"faulty.toml\"\n"),
        ("not-toml", "[policy\nzones = []\n"),
    ];
    for (name, settings) in faulty {
        let name = format!("{name}-settings.toml");
        fs::write(directory.path().join(&name), settings).expect("a file can be written");
        out += &transcript(directory.path(), &["check", "--config", &name]);
    }
    expect_file!["../data/interface/faults.txt"].assert_eq(&out);
}

/// A running namegate with every feature in use, after some traffic of every kind.
struct Busy {
    gate: Gate,
    upstream: ScriptedUpstream,
    _token: TempDir,
}

impl Busy {
    fn start() -> Self {
        let upstream = ScriptedUpstream::start();
        upstream.on("broken.allowed.example", Script::reply(Response::failing("SERVFAIL")));
        let token = TempDir::new().expect("a temporary directory");
        let path = token.path().join("token");
        write_token(&path, &format!("{TOKEN}\n"), 0o600);
        let settings = format!(
            "admin.token_file = \"{}\"\nlog.format = \"json\"\nlog.queries = \"all\"\nlog.answers = true\n\
             dnstap.socket = \"{{dir}}/nobody.sock\"\nprove.interval = \"1h\"\nupstream.deadline = \"1s\"\n\
             policy.shadow = \"candidate.toml\"\npolicy.zones = [\"{{dir}}/team.list\"]\nserver.identity = \"gate-1\"\n\
             tunnel_guard = {{ mode = \"enforce\", new_names = 10 }}\n\
             client = [{{ name = \"build\", subnets = [\"127.0.0.9\"], allow = [\"build.example\"] }}]\n\
             local = [{{ origin = \"corp.example\", file = \"corp.example.zone\" }}]\n",
            path.display()
        );
        let candidate = "[policy]\nzones = []\nallow = [\"new.example\"]\n";
        let zone = include_str!("../data/interface/input/corp.example.zone");
        let team =
            "trial.example # a trial owner=team-a ticket=NET-1 until=2999-01-31\n!denied.example # never\n";
        let files = [("candidate.toml", candidate), ("corp.example.zone", zone), ("team.list", team)];
        let gate = Gate::with_files(&[upstream.address()], &settings, &files);
        let allowed = Http::to(gate.admin()).token(TOKEN).json(
            "POST",
            "/api/v1/allowed",
            r#"{"name": "granted.example", "for": "1h", "reason": "a test", "author": "tester"}"#,
        );
        assert_eq!(allowed.status, 201, "{allowed:?}");
        let client = gate.udp();
        for number in 0..14 {
            client.ask(&Query::new(&format!("n{number}.allowed.example"), "A").edns());
        }
        let more = ["granted.example", "ns.corp.example", "trial.example", "denied.example"];
        for name in ["broken.allowed.example", "evil.example", "wpad"].into_iter().chain(more) {
            client.ask(&Query::new(name, "A").edns());
            gate.tcp().ask(&Query::new(name, "A"));
        }
        gate.udp_from([127, 0, 0, 9]).ask(&Query::new("build.example", "A"));
        client.ask(&Query::new("ws.allowed.example", "AXFR"));
        gate.expect_metrics("the canaries", |metrics| metrics.has("namegate_canary_ok"));
        gate.expect_metrics("the most blocked names", |metrics| metrics.has("namegate_top_blocked_queries"));
        eventually("the last lookup in the history", || {
            gate.get("/api/v1/log?decision=refused").1.contains("AXFR").then_some(())
        });
        Self { gate, upstream, _token: token }
    }

    /// `text` without what differs between runs.
    fn settled(&self, text: &str) -> String {
        text.replace(&self.upstream.address().to_string(), "{upstream}")
            .replace(self.gate.directory().to_str().expect("a path in UTF-8"), "{dir}")
    }
}

/// Labels whose values depend on the machine or the policy; the values of all others are an interface.
const OPEN_LABELS: [&str; 9] =
    ["hash", "worker", "upstream", "address", "name", "client", "version", "canary", "le"];

#[test]
fn metrics_with_their_labels() {
    let busy = Busy::start();
    let metrics = busy.gate.settled_metrics();
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in metrics.samples.iter().filter(|sample| !sample.name.starts_with("process_")) {
        let labels = sample.labels.iter().map(|(label, value)| match OPEN_LABELS.contains(&label.as_str()) {
            true => label.clone(),
            false => format!("{label}=\"{value}\""),
        });
        let labels: Vec<String> = labels.collect();
        families.entry(sample.name.clone()).or_default().insert(format!("{{{}}}", labels.join(",")));
    }
    let mut out = String::new();
    let mut heads: Vec<&str> =
        metrics.text.lines().filter(|line| line.starts_with('#') && !line.contains(" process_")).collect();
    heads.sort_unstable();
    for head in heads {
        let _ = writeln!(out, "{head}");
    }
    for (name, series) in families {
        for labels in series {
            let _ = writeln!(out, "{name}{labels}");
        }
    }
    expect_file!["../data/interface/metrics.txt"].assert_eq(&out);
}

/// Adds the path of every member of `value`, with the kind of its values.
fn members(path: &str, value: &Value, found: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(elements) => {
            for element in elements {
                members(&format!("{path}[]"), element, found);
            }
            "array"
        }
        Value::Object(object) => {
            for (key, value) in object {
                members(&format!("{path}.{key}"), value, found);
            }
            "object"
        }
    };
    found.entry(path.to_owned()).or_default().insert(kind);
}

fn described(value: &Value) -> String {
    let mut found = BTreeMap::new();
    members("", value, &mut found);
    let mut out = String::new();
    for (path, kinds) in found.iter().filter(|(path, _)| !path.is_empty()) {
        let _ = writeln!(out, "  {path}: {}", kinds.iter().copied().collect::<Vec<_>>().join(" or "));
    }
    out
}

#[test]
fn members_of_every_page() {
    let busy = Busy::start();
    let gate = &busy.gate;
    let mut out = String::new();
    for page in [
        "/api/v1/status",
        "/api/v1/top",
        "/api/v1/recent",
        "/api/v1/blocked",
        "/api/v1/explain?name=evil.example",
        "/api/v1/explain?name=n1.allowed.example&client=127.0.0.9&type=AAAA",
        "/api/v1/explain?name=a..b",
        "/api/v1/explain?name=trial.example",
        "/api/v1/rules",
        "/api/v1/rules?unused=1d",
        "/api/v1/shadow",
        "/api/v1/tunnel-guard",
        "/api/v1/canaries",
        "/api/v1/allowed",
        "/api/v1/log",
        "/api/v1/log?client=127.0.0.9&limit=1",
        "/api/v1/log?limit=0",
        "/api/v1/log/graph?step=86400&until=2100-01-01T00:00:00Z",
        "/api/v1/log/clients",
        "/api/v1/log/names",
        "/api/v1/session",
    ] {
        let (status, body) = gate.get(page);
        let value: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
        let _ = write!(out, "GET {page}: {status}\n{}", described(&value));
    }
    for page in ["/healthz", "/livez", "/readyz", "/nowhere"] {
        let (status, body) = gate.get(page);
        let _ = writeln!(out, "GET {page}: {status} {body:?}");
    }
    let body = r#"{"name": "wanted.example", "for": "1h", "reason": "a test"}"#;
    let http = Http::to(gate.admin());
    for (what, reply) in [
        ("POST /api/v1/allowed without the token", http.clone().json("POST", "/api/v1/allowed", body)),
        ("POST /api/v1/allowed", http.clone().token(TOKEN).json("POST", "/api/v1/allowed", body)),
        ("POST /api/v1/allowed of nonsense", http.clone().token(TOKEN).json("POST", "/api/v1/allowed", "{}")),
        (
            "DELETE /api/v1/allowed",
            http.clone().token(TOKEN).send("DELETE", "/api/v1/allowed/wanted.example", ""),
        ),
        (
            "DELETE /api/v1/allowed again",
            http.clone().token(TOKEN).send("DELETE", "/api/v1/allowed/wanted.example", ""),
        ),
        ("POST /api/v1/reload", http.clone().token(TOKEN).send("POST", "/api/v1/reload", "")),
        (
            "POST /api/v1/session",
            http.clone().json("POST", "/api/v1/session", &format!("{{\"token\": \"{TOKEN}\"}}")),
        ),
        ("POST /api/v1/session of nonsense", http.json("POST", "/api/v1/session", "{}")),
    ] {
        let value: Value =
            serde_json::from_str(&reply.body).unwrap_or_else(|_| Value::String(reply.body.clone()));
        let _ = write!(out, "{what}: {}\n{}", reply.status, described(&value));
        if let Value::String(text) = value {
            let _ = writeln!(out, "  {text:?}");
        }
    }
    expect_file!["../data/interface/pages.txt"].assert_eq(&out);
}

/// Each kind of line once, with its members: log lines by message, queries by outcome.
#[test]
fn members_of_every_log_line() {
    let busy = Busy::start();
    let gate = &busy.gate;
    // A line written after a reload has no rule.
    let queries = eventually("every query logged", || {
        let lines = gate.stdout.all();
        ["AXFR", "build.example", "\"denied.example"]
            .iter()
            .all(|wanted| lines.iter().any(|line| line.contains(wanted)))
            .then_some(lines)
    });
    gate.reload();
    gate.write_file("namegate.toml", "[policy]\nmode = \"enforced\"\n");
    gate.reload();
    gate.stderr.expect("reload failed");
    let mut kinds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in queries {
        let value: Value = serde_json::from_str(&line).expect("JSON");
        let kind = format!("query log, decision {} reason {}", value["decision"], value["reason"]);
        kinds.entry(kind).or_default().push(value);
    }
    let mut out = String::new();
    for (kind, lines) in kinds {
        let _ = write!(out, "{kind}\n{}", described(&Value::Array(lines)));
    }
    let mut operations: BTreeMap<String, Value> = BTreeMap::new();
    for line in gate.stderr.all() {
        let value: Value = serde_json::from_str(&line).expect("JSON");
        let text = |key: &str| value[key].as_str().unwrap_or_default();
        let message = busy.settled(&format!("{} {}: {}", text("level"), text("event"), text("message")));
        // What the kernel can restrict depends on the machine.
        let is_sandbox = text("event").starts_with("sandbox");
        let kept = if is_sandbox { message.find(": ").unwrap_or_default() } else { message.len() };
        operations.insert(without_numbers(&message[..kept]), value);
    }
    for (message, line) in operations {
        let _ = write!(out, "{message}\n{}", described(&line));
    }
    expect_file!["../data/interface/log.txt"].assert_eq(&out);
}

/// Commands that query a running namegate, without times, ports and counts.
#[test]
fn output_of_commands_that_ask_a_running_gate() {
    let busy = Busy::start();
    let gate = &busy.gate;
    let (admin, server) = (gate.admin().to_string(), gate.address().to_string());
    let mut out = String::new();
    for arguments in [
        &["healthcheck"][..],
        &["allowed"],
        &["shadow"],
        &["learn"],
        &["prove", "--server", &server],
        &["allow", "wanted.example", "--for", "1h", "--reason", "a test", "--author", "tester"],
        &["allow", "*.com", "--for", "1h", "--reason", "a test", "--author", "tester"],
        &["allow", "wanted.example", "--revoke"],
        &["allow", "wanted.example", "--revoke"],
        &["allow", "wanted.example", "--for", "1000h", "--reason", "a test", "--author", "tester"],
        &["explain", "evil.example", "--running"],
        &["reload"],
    ] {
        let own = ["--config", "namegate.toml", "--admin", &admin];
        let text = busy.settled(&transcript(gate.directory(), &[arguments, &own].concat()));
        let text = text.replace(&admin, "{admin}").replace(&server, "{server}");
        // Simultaneous differences come in any order.
        let is_difference =
            |line: &str| line.starts_with("  - would block ") || line.starts_with("  + would allow ");
        let mut lines: Vec<&str> = text.split('\n').collect();
        if let Some(first) = lines.iter().position(|line| is_difference(line)) {
            let count = lines[first..].iter().take_while(|line| is_difference(line)).count();
            lines[first..first + count].sort_unstable();
        }
        out += &lines.join("\n");
        out += "\n";
    }
    expect_file!["../data/interface/running.txt"].assert_eq(&without_numbers(&out));
}
