//! Tests names by which software finds another resolver: namegate answers them itself in every mode, whatever the
//! rules.

use crate::admin::token::gate_with_token;
use crate::support::code::AA;
use crate::support::command::namegate;
use crate::support::{Gate, Query, Response, Script, ScriptedUpstream};

/// Each name with its response code.
const NAMES: [(&str, &str); 9] = [
    ("resolver.arpa", "NOERROR"),
    ("_dns.resolver.arpa", "NOERROR"),
    ("a.b.resolver.arpa", "NOERROR"),
    ("use-application-dns.net", "NXDOMAIN"),
    ("doh.test", "NXDOMAIN"),
    ("Mask.iCloud.com", "NXDOMAIN"),
    ("mask-h2.icloud.com", "NXDOMAIN"),
    ("x.mask.icloud.com", "NXDOMAIN"),
    ("dns-tunnel-check.googlezip.net", "NXDOMAIN"),
];

const TYPES: [&str; 7] = ["A", "AAAA", "SVCB", "HTTPS", "CNAME", "ANY", "TYPE261"];

/// Queries every name and type; asserts that namegate itself replies with the code of the table.
fn assert_answered_here(gate: &Gate, what: &str) {
    for (name, rcode) in NAMES {
        for qtype in TYPES {
            let query = Query::new(name, qtype).edns();
            for reply in [gate.send(&query), gate.tcp().ask(&query)] {
                let what = format!("{what}: {name} {qtype}");
                assert_eq!((reply.rcode().as_str(), reply.answers.len()), (rcode, 0), "{what}");
                let [soa] = reply.authorities.as_slice() else { panic!("{what}: one SOA: {reply:?}") };
                assert!(soa.data_text().starts_with("namegate.invalid "), "{what}: {}", soa.data_text());
                assert!(!reply.has(AA));
                let [(15, text)] = &reply.extended_errors()[..] else { panic!("{what}: {reply:?}") };
                assert!(text.starts_with("denied by built-in rule: "), "{what}: {text}");
            }
        }
    }
}

#[test]
fn they_are_answered_here_in_every_mode() {
    let upstream = ScriptedUpstream::start();
    let designation = "_dns.resolver.arpa 300 SVCB \\# 16 0001 0364 6f68 0765 7861 6d70 6c65 00";
    upstream.on(
        "_dns.resolver.arpa",
        Script::reply(Response::answering(&[&designation.replace("# 16", "# 15")])),
    );
    for settings in [
        "",
        "policy.mode = \"observe\"",
        "block.answer = \"refused\"",
        "block.answer = \"nodata\"",
        "[policy]\nmode = \"observe\"\ndeny = [\".resolver.arpa\", \"_dns.resolver.arpa\", \"mask.icloud.com\", \"doh.test\"]",
        "policy.allow = [\"*.icloud.com\", \".net\", \"*.test\", \".mask.icloud.com\", \"*.mask-h2.icloud.com\"]",
        "policy.allow = [\".resolver.arpa\", \"resolver.arpa\", \"_dns.resolver.arpa\", \"a.b.resolver.arpa\"]",
    ] {
        let gate = Gate::start(&upstream, settings);
        assert_answered_here(&gate, settings);
        let blocked = gate.settled_metrics().sum("namegate_blocked_total", &[("reason", "bypass")]);
        assert_eq!(blocked, (2 * NAMES.len() * TYPES.len()) as f64, "{settings}");
        gate.stdout.expect("blocked client=127.0.0.1 protocol=udp name=resolver.arpa type=A reason=bypass");
    }
    assert!(upstream.queries().is_empty(), "{:?}", upstream.asked());
}

#[test]
fn every_client_group_gets_the_same() {
    let upstream = ScriptedUpstream::start();
    let settings = r#"
        [policy]
        mode = "observe"
        [[client]]
        name = "relayed"
        subnets = ["127.0.0.9"]
        allow = ["mask.icloud.com"]
    "#;
    let gate = Gate::start(&upstream, &format!("server.allow_clients = [\"127.0.0.0/8\"]\n{settings}"));
    assert_answered_here(&gate, "the default group");
    let ask = |client, name: &str| gate.udp_from(client).ask(&Query::new(name, "A").edns()).rcode();
    // A rule for exactly this name is the operator's decision; no rule allows resolver.arpa.
    assert_eq!(ask([127, 0, 0, 9], "mask.icloud.com"), "NOERROR");
    assert_eq!(ask([127, 0, 0, 9], "mask-h2.icloud.com"), "NXDOMAIN");
    assert_eq!(ask([127, 0, 0, 8], "mask.icloud.com"), "NXDOMAIN");
    assert_eq!(upstream.asked(), ["mask.icloud.com A"]);
}

#[test]
fn no_grant_opens_them() {
    let (upstream, _directory, gate) = gate_with_token();
    let admin = gate.admin().to_string();
    let allow = |name: &str| {
        let command = [
            "allow",
            name,
            "--for",
            "1h",
            "--reason",
            "a test",
            "--config",
            "namegate.toml",
            "--admin",
            &admin,
        ];
        namegate(gate.directory(), &command)
    };
    allow("*.icloud.com").expect_code(0);
    allow("*.resolver.arpa")
        .expect_code(1)
        .expect_stderr(&["denied by a built-in rule", "nothing can allow it"]);
    allow("mask.icloud.com")
        .expect_code(1)
        .expect_stderr(&["denied by a built-in rule", "write a rule for exactly this name"]);
    assert_answered_here(&gate, "granted");
    assert_eq!(gate.ask("www.icloud.com", "A").rcode(), "NOERROR");
    assert_eq!(upstream.asked(), ["www.icloud.com A"]);
}

#[test]
fn an_inspected_alias_to_one_is_not_given() {
    let upstream = ScriptedUpstream::start();
    let alias = ["www.icloud.com 300 CNAME mask.icloud.com", "mask.icloud.com 300 A 192.0.2.1"];
    upstream.on("www.icloud.com", Script::reply(Response::answering(&alias)));
    let gate = Gate::start(&upstream, "policy.allow = [\".icloud.com\"]\npolicy.cname = \"inspect\"");
    assert_eq!(gate.ask("www.icloud.com", "A").rcode(), "NXDOMAIN");
}

#[test]
fn explain_check_and_exports_agree() {
    let upstream = ScriptedUpstream::start();
    let rules = "[policy]\nmode = \"observe\"\nallow = [\".icloud.com\", \"_dns.resolver.arpa\", \"mask-h2.icloud.com\"]";
    let gate = Gate::start(&upstream, rules);
    let run = |arguments: &[&str], code| {
        namegate(gate.directory(), &[arguments, &["--config", "namegate.toml"]].concat())
            .expect_code(code)
            .stdout
    };
    let text = run(&["explain", "_dns.resolver.arpa", "--type", "SVCB"], 1);
    assert!(text.starts_with("blocked") && text.contains("would discover the upstream's"), "{text}");
    assert!(text.contains("NODATA, cached") && !text.contains("allow it"), "{text}");
    let text = run(&["explain", "mask.icloud.com"], 1);
    assert!(
        text.contains("denied by built-in rule: iCloud Private Relay") && text.contains("NXDOMAIN, cached"),
        "{text}"
    );
    assert!(text.contains("allow = [\"mask.icloud.com\"]"), "{text}");
    assert!(run(&["explain", "mask-h2.icloud.com"], 0).starts_with("allowed"));
    let check = namegate(gate.directory(), &["check", "--config", "namegate.toml"]).expect_code(0);
    check.expect_stderr(&["`_dns.resolver.arpa`: overridden by `.resolver.arpa` (built in)"]);
    let text = run(&["export", "unbound"], 0);
    assert!(text.contains("local-zone: \"mask.icloud.com.\" always_nxdomain"), "{text}");
    assert!(!text.contains("resolver.arpa"), "{text}");
    assert!(!run(&["rules"], 0).contains("built in"));
}
