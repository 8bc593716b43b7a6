//! Tests namegate between two real network interfaces with a small MTU, on links with loss and delay.

use std::sync::Arc;
use std::time::Duration;

use crate::support::link::{Impairment, Link};
use crate::support::load::{ask_all, count, expect_none_wrong};
use crate::support::namespaces::{Namespaces, Place, ip};
use crate::support::script::Step;
use crate::support::truth::{self, Outcome};
use crate::support::{Gate, Message, Query, Response, Script, ScriptedUpstream, TcpClient, UdpClient};

/// Namegate in its namespace, with an upstream at `server` in another.
fn gate(namespaces: &Namespaces, server: std::net::SocketAddr, settings: &str) -> Gate {
    namespaces.within(Place::Gate, || {
        let [a, b, c, d] = Namespaces::GATE;
        Gate::with_upstreams(&[server], &format!("server.listen = [\"{a}.{b}.{c}.{d}:0\"]\n{settings}"))
    })
}

fn upstream(namespaces: &Namespaces) -> ScriptedUpstream {
    namespaces.within(Place::Upstream, || ScriptedUpstream::start_on(ip(Namespaces::UPSTREAM)))
}

/// An answer with `count` addresses; over UDP only as many as fit, with TC, as servers do.
fn large(name: &str, count: usize) -> Script {
    let records: Vec<String> =
        (0..count).map(|n| format!("{name} 60 A 10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250)).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let whole = Response::answering(&records);
    match count * 16 + 60 <= 1232 {
        true => Script::reply(whole),
        false => Script::truncated_then(vec![Step::Send(Arc::new(move |query| whole.render(query)))]),
    }
}

#[test]
#[ignore = "makes network namespaces, which takes root and iproute2; .ci/run runs it"]
fn large_answers_pass_a_small_mtu_without_fragments() {
    let namespaces = Namespaces::new("mtu");
    let upstream = upstream(&namespaces);
    let gate = gate(&namespaces, upstream.address(), "");
    let address = gate.address();
    for records in [1, 60, 73, 74, 80, 400, 3900] {
        let name = format!("n{records}.allowed.example");
        upstream.on(&name, large(&name, records));
        let (over_udp, over_tcp) = namespaces.within(Place::Client, || {
            let source = ip([10, 77, 1, 2]);
            let over_udp = UdpClient::from(source, address).ask(&Query::new(&name, "A").payload(4096));
            let over_tcp =
                TcpClient::connect_from(source, address).ask(&Query::new(&name, "A").payload(4096));
            (over_udp, over_tcp)
        });
        assert!(over_udp.bytes.len() <= 1232, "{records}: {} bytes over UDP", over_udp.bytes.len());
        let is_cut = over_udp.has(crate::support::code::TC);
        assert_eq!(is_cut, over_tcp.bytes.len() > 1232, "{records}: {} bytes", over_tcp.bytes.len());
        assert_eq!(over_tcp.answers.len(), records);
    }
    for place in [Place::Client, Place::Gate, Place::Upstream] {
        assert_eq!(namespaces.fragments(place), 0, "{place:?}");
    }
    for query in upstream.queries() {
        assert_eq!(query.message.edns.map(|edns| edns.size), Some(1232));
    }
}

/// Queries 600 names over two links that each lose and delay packets.
#[test]
#[ignore = "makes network namespaces, which takes root, iproute2 and nftables; .ci/run runs it"]
fn lossy_links_cause_no_wrong_answers() {
    const QUERIES: usize = 600;
    let namespaces = Namespaces::new("bad");
    let upstream = upstream(&namespaces);
    upstream.by_default(truth::script());
    let netem = "delay 25ms 10ms loss 2.5% duplicate 2% reorder 25%";
    let by_kernel =
        namespaces.impair(Place::Upstream, "u", netem) && namespaces.impair(Place::Gate, "u", netem);
    let line = Impairment {
        doubled: 20,
        delay: Duration::from_millis(25),
        jitter: Duration::from_millis(20),
        ..Impairment::default()
    };
    // If the kernel has no netem, our own link adds delay at the upstream's end, and the packet filter adds loss.
    let link = (!by_kernel).then(|| {
        namespaces.lose(Place::Gate, 5);
        namespaces
            .within(Place::Upstream, || Link::between(ip(Namespaces::UPSTREAM), upstream.address(), line, 3))
    });
    eprintln!("impaired by {}", if by_kernel { "netem" } else { "nftables and a link of our own" });
    let server = link.as_ref().map_or_else(|| upstream.address(), Link::address);
    let gate = gate(&namespaces, server, "");
    let address = gate.address();
    let names: Vec<String> = (0..QUERIES).map(|number| format!("n{number}.allowed.example")).collect();
    let asked = namespaces
        .within(Place::Client, || ask_all(&UdpClient::from(ip([10, 77, 1, 2]), address), names, 200, |_| ()));
    expect_none_wrong(&asked);
    // The packet filter drops one in twenty of the clients' queries too; those get no reply.
    let lost = count(&asked, |outcome| *outcome == Outcome::Lost);
    let failed = count(&asked, |outcome| *outcome == Outcome::Failed);
    eprintln!(
        "{lost} queries lost before namegate, {failed} failed, {} sent upstream",
        upstream.queries().len()
    );
    let received = namespaces.within(Place::Gate, || gate.settled_metrics()).accounting().0 as usize;
    assert_eq!(QUERIES - lost, received, "every query that arrived is answered");
    // One in twenty lost, three times in a row: one query in eight thousand.
    assert!(failed <= 1, "{failed} of {received} failed");
    let again = namespaces.within(Place::Client, || {
        let client = UdpClient::from(ip([10, 77, 1, 2]), address);
        (0..10).find_map(|_| {
            client.send(&Query::new("evil.example", "A").edns().bytes());
            client.receive_within(Duration::from_secs(1)).map(|reply| Message::expect(&reply).rcode())
        })
    });
    assert_eq!(again.as_deref(), Some("NXDOMAIN"), "one in twenty is lost, not ten in a row");
    assert!(upstream.queries().len() <= QUERIES * 120 / 100, "{}", upstream.queries().len());
}
