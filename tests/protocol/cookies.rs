//! Tests DNS cookies (RFC 7873, RFC 9018): which replies carry one, and what a valid one allows.

use std::net::IpAddr;

use crate::support::{Edns, Gate, Message, Query, ScriptedUpstream, UdpClient};

/// Option code of cookies.
const COOKIE: u16 = 10;
const CLIENT_COOKIE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

fn with_option(name: &str, data: Vec<u8>) -> Query {
    let mut query = Query::new(name, "A").edns();
    query.edns = query.edns.map(|edns| Edns { options: vec![(COOKIE, data)], ..edns });
    query
}

/// A query with a client cookie, and a server cookie if there is one.
fn with_cookie(name: &str, server: &[u8]) -> Query {
    with_option(name, [&CLIENT_COOKIE[..], server].concat())
}

/// The server cookie of a reply; `None` without a COOKIE option. Asserts that the client cookie comes back unchanged.
fn server_cookie(reply: &Message) -> Option<Vec<u8>> {
    let options = &reply.edns.as_ref().expect("an OPT record").options;
    let (_, data) = options.iter().find(|(code, _)| *code == COOKIE)?;
    assert_eq!((data.len(), &data[..8]), (24, &CLIENT_COOKIE[..]));
    Some(data[8..].to_vec())
}

#[test]
fn a_cookie_is_given_on_every_kind_of_reply() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let mut given = Vec::new();
    for (name, rcode) in
        [("evil.example", "NXDOMAIN"), ("ws.allowed.example", "NOERROR"), ("ws.allowed.example", "NOERROR")]
    {
        let reply = gate.send(&with_cookie(name, &[]));
        assert_eq!(reply.rcode(), rcode);
        given.push(server_cookie(&reply).expect("a cookie over UDP"));
        assert!(server_cookie(&gate.tcp().ask(&with_cookie(name, &[]))).is_some(), "over TCP as well");
    }
    let reply = gate.send(&with_cookie("evil.example", &given[0]));
    assert_eq!(server_cookie(&reply).as_ref(), Some(&given[0]), "a valid cookie is returned unchanged");
    assert_eq!(reply.ede_codes(), [15], "the reason is there too");
    let sent = upstream.queries();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].message.edns.as_ref().is_some_and(|edns| edns.options.is_empty()));
}

#[test]
fn a_cookie_of_another_client_or_server_is_replaced() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    let own = server_cookie(&gate.send(&with_cookie("evil.example", &[]))).expect("a cookie");
    let other = UdpClient::from(IpAddr::from([127, 0, 0, 9]), gate.address());
    for foreign in [own.clone(), vec![7; 8], vec![7; 16], vec![7; 32]] {
        let reply = other.ask(&with_cookie("evil.example", &foreign));
        assert_eq!(reply.rcode(), "NXDOMAIN");
        let fresh = server_cookie(&reply).expect("a cookie");
        assert!(fresh != foreign && fresh != own);
    }
}

#[test]
fn cookie_of_invalid_length_gets_formerr() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "");
    for length in [0, 1, 7, 9, 15, 41, 64] {
        let reply = gate.send(&with_option("ws.allowed.example", vec![1; length]));
        assert_eq!(reply.rcode(), "FORMERR", "{length} bytes");
    }
    assert!(upstream.queries().is_empty());
}

#[test]
fn without_cookies_the_option_is_passed_over() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, "cookies.enabled = false");
    let reply = gate.send(&with_cookie("evil.example", &[]));
    assert_eq!((reply.rcode().as_str(), server_cookie(&reply)), ("NXDOMAIN", None));
    assert_eq!(server_cookie(&gate.ask("evil.example", "A")), None, "clients that send no cookie get none");
}

#[test]
fn gates_with_one_secret_know_each_others_cookies() {
    let upstream = ScriptedUpstream::start();
    let secret = |digits: &str| digits.repeat(16);
    let settings = "cookies.secret_file = \"{dir}/secret\"";
    let start = |lines: String| {
        let gate = Gate::with_files(&[upstream.address()], "", &[("secret", &lines)]);
        std::fs::set_permissions(
            gate.directory().join("secret"),
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .expect("permissions can be set");
        gate.write_settings(settings);
        assert_eq!(gate.reload(), crate::support::gate::Reload::Success);
        gate
    };
    let (one, other) = (start(secret("a1")), start(secret("a1")));
    let cookie = server_cookie(&one.send(&with_cookie("evil.example", &[]))).expect("a cookie");
    let again = |gate: &Gate| server_cookie(&gate.send(&with_cookie("evil.example", &cookie)));
    assert_eq!(again(&other).as_ref(), Some(&cookie));
    other.write_file("secret", &format!("{}\n{}\n", secret("b2"), secret("a1")));
    assert_eq!(other.reload(), crate::support::gate::Reload::Success);
    assert_ne!(again(&other).as_ref(), Some(&cookie), "a new one is given, made with the new secret");
    other.write_file("secret", "no secret");
    assert_eq!(other.reload(), crate::support::gate::Reload::Failure);
    let told = |line: &str| line.contains("32 hexadecimal digits");
    assert!(other.stderr.wait(crate::support::PATIENCE, told).is_some());
}

#[test]
fn a_reply_that_just_fits_is_cut_where_a_cookie_comes_with_it() {
    let upstream = ScriptedUpstream::start();
    let records: Vec<String> = (0..28).map(|n| format!("ws.allowed.example 60 A 192.0.2.{n}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    upstream.by_default(crate::support::Script::reply(crate::support::Response::answering(&records)));
    let gate = Gate::start(&upstream, "");
    let whole = gate.tcp().ask(&Query::new("ws.allowed.example", "A").edns()).bytes.len();
    for (more, cut) in [(0, true), (27, true), (28, false)] {
        let mut query = with_cookie("ws.allowed.example", &[]);
        let size = (whole + more) as u16;
        query.edns = query.edns.map(|edns| Edns { size, ..edns });
        let client = gate.udp();
        client.send(&query.bytes());
        let bytes = client.receive();
        let reply = Message::expect(&bytes);
        assert!(bytes.len() <= usize::from(size) && server_cookie(&reply).is_some());
        assert_eq!(reply.has(crate::support::code::TC), cut, "{more} bytes beyond {whole}");
    }
}

/// Whether namegate considers a client's address proven when its query needs the upstream.
#[test]
fn a_query_is_proven_by_its_cookie_or_by_tcp() {
    use std::sync::Arc;
    use std::time::Instant;

    use namegate::address::client::Client;
    use namegate::assemble::{Sources, assemble};
    use namegate::engine::{Engine as Door, Outcome};
    use namegate::events::counters::Counters;
    use namegate::observe::metrics_registry::MetricsRegistry;
    use namegate::service::state::make_state;
    use namegate::wire::reply::Transport;

    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("namegate.toml");
    let settings =
        "upstream.servers = [\"127.0.0.1:9\"]\npolicy = { zones = [], allow = [\".allowed.example\"] }\n";
    std::fs::write(&file, settings).expect("settings can be written");
    let sources = Sources { config: Some(file), ..Sources::default() };
    let assembly = assemble(&sources, 1).unwrap_or_else(|faults| panic!("{faults}"));
    let catalogue = MetricsRegistry::install().expect("no other test of this process has one");
    let state = make_state(assembly, None, &catalogue).expect("a state");
    let counters = catalogue.watch(Counters::of_one_thread());
    let mut door = Door::new(&Arc::new(arc_swap::ArcSwap::from_pointee(state)), counters);
    let mut outcome = |transport, last: u8, query: &Query| {
        let client = Client { address: ([127, 0, 0, last], 4000).into(), transport, is_own: false };
        let mut reply = Vec::new();
        let outcome = door.answer(&query.bytes(), client, Instant::now(), &mut reply);
        let is_proven = match outcome {
            Outcome::Fetch(_, query) => Some(query.is_proven()),
            _ => None,
        };
        (is_proven, reply)
    };
    let (_, blocked) = outcome(Transport::Udp, 1, &with_cookie("evil.example", &[]));
    let given = server_cookie(&Message::expect(&blocked)).expect("a cookie");
    let name = "ws.allowed.example";
    for (transport, last, query, is_proven) in [
        (Transport::Udp, 1, Query::new(name, "A"), false),
        (Transport::Udp, 1, with_cookie(name, &[]), false),
        (Transport::Udp, 1, with_cookie(name, &[7; 16]), false),
        (Transport::Udp, 1, with_cookie(name, &given), true),
        (Transport::Udp, 2, with_cookie(name, &given), false),
        (Transport::Tcp, 2, Query::new(name, "A"), true),
    ] {
        assert_eq!(
            outcome(transport, last, &query).0,
            Some(is_proven),
            "{transport:?} 127.0.0.{last} {query:?}"
        );
    }
}
