//! Tests client groups: rules that depend on the client's address.

use crate::support::command::namegate;
use crate::support::gate::Reload;
use crate::support::{Gate, Message, Query, ScriptedUpstream};

/// Sends a query from the address `client`.
fn ask_from(gate: &Gate, client: [u8; 4], name: &str) -> Message {
    gate.udp_from(client).ask(&Query::new(name, "A").edns())
}

const GROUPS: &str = r#"
    server.allow_clients = ["127.0.0.0/8"]
    policy.allow = [".everyone.example"]
    policy.deny = ["*.hidden.build.example"]
    [[client]]
    name = "build"
    subnets = ["127.1.0.0/16"]
    allow = [".build.example"]
    [[client]]
    name = "trial"
    subnets = ["127.1.2.0/24", "127.3.0.1"]
    mode = "observe"
    deny = ["denied.everyone.example"]
"#;

#[test]
fn the_narrowest_subnet_says_whose_rules_hold() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, GROUPS);
    for (client, name, rcode) in [
        ([127, 0, 0, 1], "a.everyone.example", "NOERROR"),
        ([127, 0, 0, 1], "a.build.example", "NXDOMAIN"),
        ([127, 1, 0, 1], "b.build.example", "NOERROR"),
        ([127, 1, 0, 1], "b.everyone.example", "NXDOMAIN"),
        ([127, 1, 0, 1], "x.hidden.build.example", "NXDOMAIN"),
        ([127, 1, 2, 1], "c.everyone.example", "NOERROR"),
        ([127, 1, 2, 1], "c.elsewhere.example", "NOERROR"),
        ([127, 3, 0, 1], "d.elsewhere.example", "NOERROR"),
        ([127, 3, 0, 2], "d.everyone.example", "NOERROR"),
        ([127, 3, 0, 2], "e.elsewhere.example", "NXDOMAIN"),
    ] {
        assert_eq!(ask_from(&gate, client, name).rcode(), rcode, "{client:?} {name}");
    }
    assert_eq!(
        upstream.asked(),
        [
            "a.everyone.example A",
            "b.build.example A",
            "c.everyone.example A",
            "c.elsewhere.example A",
            "d.elsewhere.example A",
            "d.everyone.example A"
        ]
    );
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_responses_total", &[("decision", "observed")]), 2.0);
}

#[test]
fn cache_entries_of_one_group_do_not_serve_another() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, GROUPS);
    assert_eq!(ask_from(&gate, [127, 1, 0, 1], "a.build.example").rcode(), "NOERROR");
    assert_eq!(ask_from(&gate, [127, 0, 0, 1], "a.build.example").rcode(), "NXDOMAIN");
    assert_eq!(ask_from(&gate, [127, 1, 2, 1], "a.build.example").rcode(), "NOERROR");
    assert_eq!(upstream.count("a.build.example"), 1, "clients that may have it share it");
}

#[test]
fn a_reload_moves_clients_to_another_group() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, GROUPS);
    assert_eq!(ask_from(&gate, [127, 1, 0, 1], "a.build.example").rcode(), "NOERROR");
    gate.write_settings("server.allow_clients = [\"127.0.0.0/8\"]");
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(ask_from(&gate, [127, 1, 0, 1], "a.build.example").rcode(), "NXDOMAIN");
    gate.write_settings(GROUPS);
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(ask_from(&gate, [127, 1, 0, 1], "a.build.example").rcode(), "NOERROR");
    assert_eq!(upstream.count("a.build.example"), 2, "entries that no client may have were dropped");
}

#[test]
fn explain_and_the_log_name_the_group() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, GROUPS);
    ask_from(&gate, [127, 1, 0, 1], "b.everyone.example");
    gate.stdout.expect("group=build");
    let explain = |client| {
        let name = "b.everyone.example";
        namegate(gate.directory(), &["explain", name, "--config", "namegate.toml", "--client", client])
    };
    let explained = explain("127.1.0.1").expect_code(1);
    assert!(
        explained.stdout.contains("\n  group    build: 2 rules from settings (2)\n"),
        "{}",
        explained.stdout
    );
    let explained = explain("127.0.0.1").expect_code(0);
    assert!(
        explained.stdout.contains("\n  group    default: 2 rules from settings (2)\n"),
        "{}",
        explained.stdout
    );
}

#[test]
fn implausible_settings_are_refused_with_help() {
    let directory = tempfile::tempdir().unwrap();
    for (groups, said) in [
        (
            "[[client]]\nname = \"a\"\nsubnets = [\"10.1.0.0/16\"]\n[[client]]\nname = \"b\"\nsubnets = [\"10.1.0.0/16\"]\n",
            &["namegate.toml:6:12", "already belongs to client group `a`", "list it in one group only"][..],
        ),
        (
            "[[client]]\nname = \"a\"\nsubnets = [\"10.1.0.0/16\"]\n[[client]]\nname = \"a\"\nsubnets = [\"10.2.0.0/16\"]\n",
            &["namegate.toml:5:8", "duplicate client group `a`"],
        ),
        (
            "[[client]]\nname = \"a\"\nsubnets = [\"192.0.2.0/24\"]\n",
            &[
                "namegate.toml:3:12",
                "no client in 192.0.2.0/24 is served",
                "add \"192.0.2.0/24\" to `server.allow_clients`",
            ],
        ),
        ("[[client]]\nname = \"a\"\n", &["`client.subnets` is missing", "add `subnets = [\"10.1.0.0/16\"]`"]),
        ("[[client]]\nsubnets = [\"10.1.0.0/16\"]\n", &["`client.name` is missing"]),
        (
            "[[client]]\nname = \"default\"\nsubnets = [\"10.1.0.0/16\"]\n",
            &["reserved for clients without a group"],
        ),
        ("[[client]]\nname = \"a\"\nsubnets = [\"10.1.0.0/16\"]\nzone = []\n", &["unknown key", "`zones`"]),
        (
            "[[client]]\nname = \"a\"\nsubnets = [\"10.1.0.0/16\"]\nzones = [\"azure\"]\n",
            &["namegate.toml:4:10", "unknown allowlist `azure`"],
        ),
    ] {
        std::fs::write(directory.path().join("namegate.toml"), groups).unwrap();
        namegate(directory.path(), &["check", "--config", "namegate.toml"])
            .expect_code(1)
            .expect_stderr(said);
    }
}

#[test]
fn a_subnet_of_mapped_addresses_is_one_of_ipv4() {
    let upstream = ScriptedUpstream::start();
    let settings = r#"
        server.allow_clients = ["127.0.0.0/8"]
        [[client]]
        name = "tight"
        subnets = ["::ffff:127.0.0.2/128"]
        allow = []
    "#;
    let gate = Gate::start(&upstream, settings);
    assert_eq!(ask_from(&gate, [127, 0, 0, 2], "a.allowed.example").rcode(), "NXDOMAIN");
    assert_eq!(ask_from(&gate, [127, 0, 0, 1], "a.allowed.example").rcode(), "NOERROR");
}
