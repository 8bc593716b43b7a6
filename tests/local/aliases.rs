//! Tests aliases in local zones: where they are followed to, and what the client gets.

use std::time::{Duration, Instant};

use crate::support::code::{AA, AD, RA, TC};
use crate::support::command::namegate;
use crate::support::namespaces::{Namespaces, Place, ip};
use crate::support::{Gate, Message, Query, Record, Response, Script, ScriptedUpstream};

const ZONE: &str = "\
$ORIGIN corp.example.
$TTL 300
@       SOA ns.corp.example. hostmaster.corp.example. 1 3600 600 86400 30
@       NS  ns
ns      A   10.0.0.2
www     CNAME target.allowed.example.
hop     CNAME www
gone    CNAME missing
blocked CNAME evil.example.
denied  CNAME secret.allowed.example.
over    CNAME host.lab.example.
lacking CNAME nothing.lab.example.
round   CNAME round.lab.example.
odd     CNAME odd.allowed.example.
big     CNAME big.allowed.example.
trial   CNAME host.trial.example.
routed  CNAME host.routed.example.
c0      A   10.0.0.9
c1      CNAME c0
c2      CNAME c1
c3      CNAME c2
c4      CNAME c3
c5      CNAME c4
c6      CNAME c5
c7      CNAME c6
c8      CNAME c7
c9      CNAME c8
";

const LAB: &str = "\
$ORIGIN lab.example.
$TTL 300
@       SOA ns.lab.example. hostmaster.lab.example. 1 3600 600 86400 40
@       NS  ns
ns      A   10.0.0.3
host    A   10.0.0.4
round   CNAME round.corp.example.
";

const POLICY: &str = r#"
    log.queries = "all"
    policy.allow = [".allowed.example"]
    policy.deny = ["secret.allowed.example"]
"#;

const ZONES: &str = r#"
    [[local]]
    origin = "corp.example"
    file = "corp.zone"
    [[local]]
    origin = "lab.example"
    file = "lab.zone"
"#;

fn start(upstream: &ScriptedUpstream, settings: &str) -> Gate {
    let files = [("corp.zone", ZONE), ("lab.zone", LAB)];
    Gate::with_files(&[upstream.address()], &format!("{POLICY}\n{settings}\n{ZONES}"), &files)
}

/// The reply over UDP; asserts that the reply over TCP is the same.
fn ask_both(gate: &Gate, name: &str) -> Message {
    let query = Query::new(name, "A").edns();
    let (udp, tcp) = (gate.send(&query), gate.tcp().ask(&query));
    assert_eq!(udp.bytes[2..], tcp.bytes[2..], "{udp:?}\n{tcp:?}");
    udp
}

#[test]
fn an_alias_to_an_allowed_name_is_completed() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "");
    let reply = ask_both(&gate, "WWW.corp.example");
    let chain =
        ["WWW.corp.example 300 CNAME target.allowed.example", "target.allowed.example 300 A 192.0.2.1"];
    let texts = reply.answer_texts();
    assert_eq!(texts.len(), 2, "{texts:?}");
    assert!(texts[0].eq_ignore_ascii_case(chain[0]) && texts[1] == chain[1], "{texts:?}");
    // RFC 1034 section 4.3.2: AA is about the first owner name. The answer is not validated.
    assert!(reply.has(AA | RA) && !reply.has(AD) && reply.ede_codes().is_empty());
    assert_eq!((reply.rcode().as_str(), reply.name()), ("NOERROR", "WWW.corp.example"));
    let hop = ask_both(&gate, "hop.corp.example").answer_data();
    assert_eq!(hop, ["www.corp.example", "target.allowed.example", "192.0.2.1"]);
    // Queried once, only for the target; the rest came from the cache.
    assert_eq!(upstream.asked(), ["target.allowed.example A"]);
    gate.stdout.expect("name=www.corp.example type=A rule=.allowed.example place=");
    gate.stdout.expect(" rcode=noerror source=upstream upstream=");
    let metrics = gate.settled_metrics();
    assert_eq!(metrics.sum("namegate_responses_total", &[("decision", "local")]), 4.0);
}

#[test]
fn a_completed_answer_ages_like_any_other() {
    let upstream = ScriptedUpstream::start();
    upstream.on(
        "target.allowed.example",
        Script::reply(Response::answering(&["target.allowed.example 60 A 192.0.2.1"])),
    );
    let gate = start(&upstream, "");
    ask_both(&gate, "www.corp.example");
    std::thread::sleep(Duration::from_millis(1100));
    let reply = ask_both(&gate, "www.corp.example");
    assert_eq!(reply.answers[0].ttl, 300, "the local zone's record does not age");
    assert!((57..=59).contains(&reply.answers[1].ttl), "{reply:?}");
    assert_eq!(upstream.count("target.allowed.example"), 1);
}

#[test]
fn an_alias_to_a_blocked_name_stays_alone() {
    let upstream = ScriptedUpstream::start();
    for (answer, mode) in [("nxdomain", "enforce"), ("nodata", "enforce"), ("refused", "enforce")] {
        let gate = start(&upstream, &format!("block.answer = \"{answer}\"\npolicy.mode = \"{mode}\""));
        for (name, target) in [("blocked", "evil.example"), ("denied", "secret.allowed.example")] {
            let reply = ask_both(&gate, &format!("{name}.corp.example"));
            assert_eq!((reply.rcode().as_str(), reply.answer_data()), ("NOERROR", vec![target.to_owned()]));
            assert!(reply.has(AA) && reply.authorities.is_empty());
            assert_eq!(reply.extended_errors(), [(15, "CNAME target not allowed".to_owned())], "{answer}");
        }
        gate.stdout.expect(
            "local client=127.0.0.1 protocol=udp name=denied.corp.example type=A reason=denied rule=secret",
        );
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn observe_mode_completes_and_counts() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "policy.mode = \"observe\"");
    assert_eq!(gate.ask("blocked.corp.example", "A").answer_data(), ["evil.example", "192.0.2.1"]);
    assert_eq!(upstream.asked(), ["evil.example A"]);
    assert_eq!(gate.settled_metrics().sum("namegate_blocked_total", &[("reason", "not_listed")]), 1.0);
}

#[test]
fn an_alias_to_a_missing_name_is_a_name_error() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "");
    for (name, target, soa, minimum) in [
        ("gone", "missing.corp.example", "corp.example", 30),
        ("lacking", "nothing.lab.example", "lab.example", 40),
    ] {
        let reply = ask_both(&gate, &format!("{name}.corp.example"));
        assert_eq!((reply.rcode().as_str(), reply.answer_data()), ("NXDOMAIN", vec![target.to_owned()]));
        let [authority] = reply.authorities.as_slice() else { panic!("one SOA: {reply:?}") };
        assert_eq!((authority.owner.as_str(), authority.ttl), (soa, minimum));
        assert!(reply.has(AA) && reply.answers[0].ttl == 300);
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn an_alias_leads_into_another_local_zone() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "");
    assert_eq!(ask_both(&gate, "over.corp.example").answer_data(), ["host.lab.example", "10.0.0.4"]);
    assert!(upstream.queries().is_empty());
}

#[test]
fn nine_aliases_are_followed_and_circles_end() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "");
    let reply = ask_both(&gate, "c9.corp.example");
    assert_eq!((reply.answers.len(), reply.answer_data()[9].as_str()), (10, "10.0.0.9"));
    // As in BIND and Unbound.
    let circle = ask_both(&gate, "round.corp.example");
    assert_eq!((circle.rcode().as_str(), circle.answers.len(), circle.has(AA)), ("SERVFAIL", 0, false));
    assert_eq!(circle.extended_errors(), [(0, "CNAME chain too long, possibly a loop".to_owned())]);
    assert!(upstream.queries().is_empty());
}

#[test]
fn what_the_upstream_says_of_the_target_is_the_answer() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "");
    let missing = Response::negative("NXDOMAIN", Record::soa("allowed.example", 300, 50));
    let failing = Response::failing("SERVFAIL").extended_error(22, "no authority");
    upstream.on("odd.allowed.example", Script::reply(missing));
    upstream.on("target.allowed.example", Script::reply(failing));
    let reply = ask_both(&gate, "odd.corp.example");
    assert_eq!(
        (reply.rcode().as_str(), reply.answer_data()),
        ("NXDOMAIN", vec!["odd.allowed.example".to_owned()])
    );
    assert_eq!((reply.authorities[0].owner.as_str(), reply.authorities[0].ttl), ("allowed.example", 50));
    assert!(reply.has(AA));
    let reply = ask_both(&gate, "www.corp.example");
    assert_eq!((reply.rcode().as_str(), reply.answers.len(), reply.has(AA)), ("SERVFAIL", 0, false));
    assert!(reply.ede_codes().contains(&22), "{reply:?}");
}

#[test]
fn who_wants_no_recursion_gets_the_alias_alone() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "");
    let reply = gate.send(&Query::new("www.corp.example", "A").edns().flags(0));
    assert_eq!(
        (reply.rcode().as_str(), reply.answer_data()),
        ("NOERROR", vec!["target.allowed.example".to_owned()])
    );
    assert_eq!(gate.ask("www.corp.example", "CNAME").answers.len(), 1);
    assert_eq!(gate.ask("www.corp.example", "ANY").answers.len(), 1);
    assert!(upstream.queries().is_empty());
}

#[test]
fn a_completed_answer_fits_its_transport() {
    let upstream = ScriptedUpstream::start();
    let records: Vec<String> = (0..60).map(|i| format!("big.allowed.example 300 A 192.0.2.{i}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    upstream.on("big.allowed.example", Script::reply(Response::answering(&records)));
    let gate = start(&upstream, "");
    let cut = gate.send(&Query::new("big.corp.example", "A"));
    assert!(cut.has(TC) && cut.answers.is_empty() && cut.bytes.len() <= 512);
    let whole = gate.tcp().ask(&Query::new("big.corp.example", "A"));
    assert!(whole.answers.len() == 61 && !whole.has(TC) && whole.edns.is_none());
    assert_eq!(gate.send(&Query::new("big.corp.example", "A").payload(1232)).answers.len(), 61);
    assert_eq!(upstream.count("big.allowed.example"), 1);
}

#[test]
fn the_target_goes_by_the_clients_group_and_its_route() {
    let (usual, routed) = (ScriptedUpstream::start(), ScriptedUpstream::start());
    let settings = format!(
        r#"
        server.allow_clients = ["127.0.0.0/8"]
        [[client]]
        name = "trial"
        subnets = ["127.3.0.0/16"]
        allow = [".trial.example", ".routed.example"]
        [[route]]
        names = [".routed.example"]
        servers = ["{}"]
        "#,
        routed.address()
    );
    let gate = start(&usual, &settings);
    let ask = |client, name: &str| gate.udp_from(client).ask(&Query::new(name, "A").edns()).answers.len();
    assert_eq!(ask([127, 0, 0, 1], "trial.corp.example"), 1);
    assert_eq!(ask([127, 3, 0, 1], "trial.corp.example"), 2);
    assert_eq!(ask([127, 0, 0, 1], "trial.corp.example"), 1, "cached records are not given either");
    assert_eq!(ask([127, 3, 0, 1], "routed.corp.example"), 2);
    assert_eq!(
        (usual.asked(), routed.asked()),
        (vec!["host.trial.example A".to_owned()], vec!["host.routed.example A".to_owned()])
    );
}

#[test]
fn what_a_rule_demands_of_answers_holds_for_the_target() {
    let upstream = ScriptedUpstream::start();
    let elsewhere = ["odd.allowed.example 300 CNAME evil.example", "evil.example 300 A 192.0.2.9"];
    upstream.on("odd.allowed.example", Script::reply(Response::answering(&elsewhere)));
    let gate = start(&upstream, "policy.cname = \"inspect\"");
    let reply = ask_both(&gate, "odd.corp.example");
    assert_eq!(
        (reply.rcode().as_str(), reply.answer_data()),
        ("NOERROR", vec!["odd.allowed.example".to_owned()])
    );
    assert_eq!(reply.ede_codes(), [15]);

    let zone = "[[allow]]\nhost = \".allowed.example\"\nexpect = \"private\"\n";
    let settings = r#"
        [policy]
        zones = ["zone"]
        zones_directory = "."
        enforce_expect = true
        [[local]]
        origin = "corp.example"
        file = "corp.zone"
    "#;
    let files = [("corp.zone", ZONE), ("zone.toml", zone)];
    let gate = Gate::with_files(&[upstream.address()], settings, &files);
    let reply = ask_both(&gate, "www.corp.example");
    assert_eq!((reply.rcode().as_str(), reply.answers.len(), reply.ede_codes()), ("SERVFAIL", 0, vec![15]));
}

#[test]
fn equal_targets_share_an_exchange_and_the_limits_hold() {
    let upstream = ScriptedUpstream::start();
    let answer = Response::answering(&["target.allowed.example 60 A 192.0.2.1"]);
    upstream.on("target.allowed.example", Script::late(Duration::from_millis(300), answer));
    upstream.on("odd.allowed.example", Script::silent());
    let gate = start(&upstream, "server.in_flight_per_client = 3");
    let clients: Vec<_> = ["www", "hop", "www"]
        .map(|name| {
            let client = gate.udp();
            client.send(&Query::new(&format!("{name}.corp.example"), "A").bytes());
            client
        })
        .into();
    upstream.wait_for("target.allowed.example", 1);
    for client in &clients {
        let reply = Message::expect(&client.receive());
        assert_eq!(reply.answer_data().last().map(String::as_str), Some("192.0.2.1"));
    }
    assert_eq!(upstream.count("target.allowed.example"), 1);
    // Three queries of one client wait for a silent upstream; a fourth fails at once.
    let waiting = gate.udp();
    for _ in 0..3 {
        waiting.send(&Query::new("odd.corp.example", "A").bytes());
    }
    upstream.wait_for("odd.allowed.example", 1);
    gate.expect_metrics("three pending queries", |metrics| {
        metrics.sum("namegate_queries_in_flight", &[]) == 3.0
    });
    let begun = Instant::now();
    let reply = gate.ask("odd.corp.example", "A");
    assert_eq!(reply.rcode(), "SERVFAIL");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(gate.ask("c9.corp.example", "A").answers.len(), 10, "other clients are not delayed");
}

#[test]
fn explain_says_where_an_alias_leads() {
    let upstream = ScriptedUpstream::start();
    let gate = start(&upstream, "");
    let explain = |name: &str, code| {
        let name = format!("{name}.corp.example");
        namegate(gate.directory(), &["explain", &name, "--config", "namegate.toml"]).expect_code(code).stdout
    };
    let text = explain("www", 0);
    assert!(
        text.starts_with("local") && text.contains("CNAME target target.allowed.example is allowed\n"),
        "{text}"
    );
    assert!(text.contains(&format!("route    {}", upstream.address())), "{text}");
    let text = explain("blocked", 1);
    assert!(text.contains("CNAME target evil.example is blocked: not on the allowlist"), "{text}");
    assert!(explain("round", 1).contains("loop"));
    assert!(explain("over", 0).contains("answered by local zone corp.example\n"));
    assert!(
        gate.get("/api/v1/explain?name=blocked.corp.example")
            .1
            .contains("CNAME target evil.example is blocked")
    );
    assert!(upstream.queries().is_empty());
}

#[test]
#[ignore = "makes network namespaces, which takes root and iproute2; .ci/run runs it"]
fn glibc_finds_the_address_behind_an_alias() {
    let namespaces = Namespaces::new("gai");
    let upstream =
        namespaces.within(Place::Upstream, || ScriptedUpstream::start_on(ip(Namespaces::UPSTREAM)));
    let failing = Response::failing("SERVFAIL");
    upstream.on("odd.allowed.example", Script::reply(failing));
    let _gate = namespaces.within(Place::Gate, || {
        let files = [("corp.zone", ZONE), ("lab.zone", LAB)];
        let listen = format!("{POLICY}\nserver.listen = [\"{}:53\"]\n{ZONES}", ip(Namespaces::GATE));
        Gate::with_files(&[upstream.address()], &listen, &files)
    });
    // Exit status 2 of getent(1): "One or more supplied key could not be found".
    for (name, status, addresses) in [
        ("www", 0, &["192.0.2.1"][..]),
        ("hop", 0, &["192.0.2.1"]),
        ("over", 0, &["10.0.0.4"]),
        ("c9", 0, &["10.0.0.9"]),
        ("gone", 2, &[]),
        ("lacking", 2, &[]),
        ("blocked", 2, &[]),
        ("round", 2, &[]),
        ("odd", 2, &[]),
    ] {
        let found = namespaces.getaddrinfo(&format!("{name}.corp.example"));
        eprintln!("getaddrinfo {name}.corp.example: {found:?}");
        assert_eq!(
            (found.0, &found.1[..]),
            (Some(status), &addresses.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()[..]),
            "{name}"
        );
    }
    assert!(upstream.queries().iter().all(|query| query.message.name().ends_with(".allowed.example")));
}
