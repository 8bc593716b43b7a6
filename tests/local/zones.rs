//! Tests local zones read from master files, which take precedence over the policy.

use crate::support::code::AA;
use crate::support::gate::Reload;
use crate::support::{Gate, Query, ScriptedUpstream};

const ZONE: &str = "\
$ORIGIN corp.example.
$TTL 300
@       IN SOA ns.corp.example. hostmaster.corp.example. 1 7200 900 1209600 60
@       IN NS  ns.corp.example.
ns      IN A   10.0.0.53
www     IN A   10.0.0.80
www     IN TXT \"hello\"
alias   IN CNAME www.corp.example.
*.apps  IN A   10.0.0.90
";

const SETTINGS: &str = r#"
    [policy]
    allow = [".allowed.example"]
    deny = [".corp.example"]
    [[local]]
    origin = "corp.example"
    file = "corp.zone"
"#;

fn start(upstream: &ScriptedUpstream) -> Gate {
    Gate::with_files(&[upstream.address()], SETTINGS, &[("corp.zone", ZONE)])
}

#[test]
fn the_zone_answers_before_the_policy() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream);
    let reply = gate.ask("WWW.corp.example", "A");
    assert!(reply.has(AA));
    assert_eq!((reply.rcode().as_str(), reply.name()), ("NOERROR", "WWW.corp.example"));
    assert_eq!(reply.answer_data(), ["10.0.0.80"]);
    let over_tcp = gate.tcp().ask(&Query::new("www.corp.example", "TXT"));
    assert_eq!((over_tcp.answer_data(), over_tcp.has(AA)), (vec!["hello".to_owned()], true));
    let reply = gate.ask("corp.example", "SOA");
    assert_eq!(reply.answers.len(), 1);
    assert!(upstream.queries().is_empty());
    let local = gate.settled_metrics().sum("namegate_responses_total", &[("decision", "local")]);
    assert_eq!(local, 3.0);
}

#[test]
fn what_the_zone_has_not_does_not_exist() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream);
    let reply = gate.ask("nothing.corp.example", "A");
    assert_eq!((reply.rcode().as_str(), reply.has(AA)), ("NXDOMAIN", true));
    assert_eq!(reply.authorities[0].owner, "corp.example");
    assert!(reply.ede_codes().is_empty());
    let reply = gate.ask("www.corp.example", "AAAA");
    assert_eq!((reply.rcode().as_str(), reply.answers.len(), reply.has(AA)), ("NOERROR", 0, true));
    assert!(upstream.queries().is_empty());
}

#[test]
fn wildcards_and_aliases_work() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream);
    assert_eq!(gate.ask("x.apps.corp.example", "A").answer_data(), ["10.0.0.90"]);
    assert_eq!(gate.ask("alias.corp.example", "A").answer_data(), ["www.corp.example", "10.0.0.80"]);
    assert!(upstream.queries().is_empty());
}

#[test]
fn transfers_of_a_local_zone_are_refused() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream);
    assert_eq!(gate.tcp().ask(&Query::new("corp.example", "AXFR")).rcode(), "REFUSED");
    assert_eq!(gate.ask("corp.example", "IXFR").rcode(), "REFUSED");
}

#[test]
fn names_beside_the_zone_are_judged_by_the_rules() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream);
    assert_eq!(gate.ask("xcorp.example", "A").ede_codes(), [15]);
    assert_eq!(gate.ask("ws.allowed.example", "A").answer_data(), ["192.0.2.1"]);
    assert_eq!(upstream.asked(), ["ws.allowed.example A"]);
}

#[test]
fn clients_not_on_the_list_do_not_see_the_zone() {
    let upstream = ScriptedUpstream::start();
    let settings = format!("server.allow_clients = [\"127.0.0.1\"]\n{SETTINGS}");
    let gate = Gate::with_files(&[upstream.address()], &settings, &[("corp.zone", ZONE)]);
    let reply = gate.udp_from([127, 0, 0, 2]).ask(&Query::new("www.corp.example", "A").edns());
    assert_eq!((reply.rcode().as_str(), reply.ede_codes()), ("REFUSED", vec![18]));
}

#[test]
fn a_changed_zone_is_read_again_and_a_broken_one_is_not() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream);
    gate.write_file("corp.zone", &ZONE.replace("10.0.0.80", "10.0.0.81"));
    assert_eq!(gate.reload(), Reload::Success);
    assert_eq!(gate.ask("www.corp.example", "A").answer_data(), ["10.0.0.81"]);
    gate.write_file("corp.zone", &ZONE.replace("10.0.0.80", "10.0.0.300"));
    assert_eq!(gate.reload(), Reload::Failure);
    gate.stderr.expect("corp.zone:6");
    assert_eq!(gate.ask("www.corp.example", "A").answer_data(), ["10.0.0.81"]);
}

/// Answers too large for a datagram are served over TCP; those too large for a message are refused at load time.
#[test]
fn large_sets_of_records_are_served_over_tcp_or_refused() {
    let zone = |count: usize| {
        let mut zone = "$ORIGIN corp.example.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 30\n@ NS ns\n\
                        ns A 10.0.0.2\n"
            .to_owned();
        for number in 0..count {
            zone += &format!("big A 10.1.{}.{}\n", number / 256, number % 256);
        }
        zone
    };
    let settings = "[[local]]\norigin = \"corp.example\"\nfile = \"corp.zone\"\n";
    let upstream = ScriptedUpstream::start();
    for count in [1600, 2000] {
        let gate = Gate::with_files(&[upstream.address()], settings, &[("corp.zone", &zone(count))]);
        let query = Query::new("big.corp.example", "A").edns();
        assert_ne!(gate.send(&query).flags & crate::support::code::TC, 0, "{count} over UDP");
        let reply = gate.tcp().ask(&query);
        assert_eq!((reply.rcode().as_str(), reply.answers.len()), ("NOERROR", count));
    }
    let directory = tempfile::TempDir::new().expect("a directory");
    std::fs::write(directory.path().join("corp.zone"), zone(4000)).expect("a file");
    let path = crate::support::settings::write_settings(directory.path(), &[upstream.address()], settings);
    let arguments = ["check", "--config", path.to_str().expect("UTF-8")];
    crate::support::command::namegate(directory.path(), &arguments)
        .expect_code(1)
        .expect_stderr(&["`big.corp.example.` has 4000 A records", "an answer has room for"]);
}
