//! A resolver, an embedded upstream and six queries, on loopback only.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name, RecordType};

use crate::address::upstream::UpstreamAddress;
use crate::assemble::{Sources, assemble};
use crate::cli::output::{counted, try_print};
use crate::config::{LogQueries, Overrides};
use crate::local::{EmbeddedUpstream, demo_zones};
use crate::observe::metrics_registry::MetricsRegistry;
use crate::service::StartError;
use crate::service::inherited::Inherited;
use crate::service::serve::Service;
use crate::service::sockets::Sockets;

/// The queries: names that a workspace needs, then names that it does not.
const QUESTIONS: [(&str, RecordType); 6] = [
    ("4f2c7a1e-90b3-4d5e-8c61-a7d2e0f93b58.workspace.eastus.api.azureml.ms.", RecordType::A),
    ("login.microsoftonline.com.", RecordType::A),
    ("PyPI.org.", RecordType::AAAA),
    ("notazureml.ms.", RecordType::A),
    ("exfiltrate.example.com.", RecordType::TXT),
    ("contoso.search.windows.net.", RecordType::A),
];

/// Time for one answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Runs the demonstration and prints what happened.
pub(super) fn run() -> Result<(), StartError> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let upstream = runtime.block_on(EmbeddedUpstream::start(&demo_zones(), any_port))?;
    let overrides = Overrides {
        listen: vec![any_port],
        upstream: vec![UpstreamAddress::Udp(upstream.address())],
        admin: Some(None),
        ..Overrides::default()
    };
    let mut assembly = assemble(&Sources { config: None, overrides }, 1)?;
    assembly.settings.log.queries = LogQueries::None;
    assembly.settings.prove.interval = Duration::ZERO;
    let rules = assembly.policy().rules();
    let sockets = Sockets::open(&assembly.settings, Inherited::default())?;
    let service = Service::start(assembly, sockets, Arc::new(MetricsRegistry::install()?), std::io::sink())?;
    let gate = *service.listen.first().ok_or("nothing to listen on")?;
    let mut text = format!(
        "An upstream on {} and namegate with {rules} rules on {gate}, both on loopback.\n",
        upstream.address()
    );
    for (name, kind) in QUESTIONS {
        let _ = writeln!(text, "\ndig {name} {kind}");
        text.push_str(&ask(gate, name, kind)?);
    }
    let (asked, probes) = exchanges(&service);
    let _ = writeln!(
        text,
        "\n{} names queried; {asked} of them reached the upstream, and {}.\n\
         To run the resolver: namegate serve",
        QUESTIONS.len(),
        counted(probes, "health probe")
    );
    try_print(&text)?;
    service.shut_down();
    runtime.block_on(upstream.shutdown())?;
    Ok(())
}

/// Exchanges with the upstream: for the queries, and health probes.
fn exchanges(service: &Service) -> (u64, u64) {
    let state = service.state.load();
    let servers = state.upstreams.servers();
    let all: u64 = servers.iter().flat_map(|server| server.stats.results()).map(|(_, count)| count).sum();
    let probes = servers.iter().map(|server| server.stats.probes()).sum();
    (all.saturating_sub(probes), probes)
}

/// Queries the resolver and formats the answer as dig does.
fn ask(gate: SocketAddr, name: &str, kind: RecordType) -> Result<String, StartError> {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(Name::from_ascii(name)?, kind));
    query.edns = Some(Edns::new());
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(&query.to_vec()?, gate)?;
    let mut datagram = [0; 4096];
    let length = socket.recv(&mut datagram)?;
    let reply = Message::from_vec(&datagram[..length])?;
    let mut text = format!("  {}\n", reply.metadata.response_code);
    for record in reply.answers.iter().chain(&reply.authorities) {
        let _ = writeln!(text, "  {record}");
    }
    let options = reply.edns.iter().flat_map(|edns| edns.options().as_ref());
    for (_, option) in options {
        if let EdnsOption::Unknown(15, error) = option
            && let Some((code, explanation)) = error.split_first_chunk::<2>()
        {
            let code = u16::from_be_bytes(*code);
            let _ = writeln!(text, "  EDE {code}: {}", String::from_utf8_lossy(explanation));
        }
    }
    Ok(text)
}
