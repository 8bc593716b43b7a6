//! Settings of `[server]`: listeners, clients and their limits.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::config::values::{optional_path, plain};
use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;

/// Listeners, clients and their limits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerSettings {
    /// Addresses to listen on, over UDP and TCP; without a port, 53. Change it to serve other machines.
    pub listen: Vec<SocketAddr>,
    /// UDP worker threads, 0 to 256; 0 means one per core. Lower it to leave cores to other programs.
    pub workers: usize,
    /// Largest UDP payload in bytes, 512 to 4096. Raise it only if no network path drops fragments.
    pub udp_payload: u16,
    /// Answer to `dig CH TXT id.server`, to identify a server behind a shared address. Empty: such queries are refused.
    pub identity: String,
    /// Clients in these subnets get answers. Narrow it to those you serve. Azure's health probes come from
    /// 168.63.129.16.
    pub allow_clients: Vec<IpNet>,
    /// Reply to all other clients: "refuse" sends REFUSED; "drop" sends nothing and closes their TCP connections at
    /// once. Set "drop" if networks that you do not serve can reach the listener.
    pub other_clients: OtherClients,
    /// IPv6 prefix length that counts as one client for all limits, 32 to 128. Set 128 where hosts share a /64, as in
    /// Azure; otherwise one host can use up the limits of all of them.
    pub ipv6_prefix_length: u8,
    /// Open TCP connections of all clients, 1 to 65535; each needs a file descriptor. When the limit is reached and a
    /// client with fewer connections connects, namegate closes the longest-idle connection of the client with the most.
    /// Raise it, and the limit on open files, for more than 40 nodes with 150 connections each.
    pub tcp_connections: usize,
    /// Open TCP connections per client, 1 to 65535. Raise it for a forwarder or a NAT that opens more.
    pub tcp_connections_per_client: usize,
    /// Queries in progress per TCP connection, 1 to 1024. Raise it for a forwarder that sends all queries over one
    /// connection.
    pub tcp_queries_per_connection: usize,
    /// Close a TCP connection after this time without an answered query, 1s to 5m. If fewer than a quarter of
    /// `tcp_connections` are free, a client with an equal share of them or more (`tcp_connections` divided by the
    /// number of connected clients) gets a tenth of this time.
    #[serde(serialize_with = "serializers::quantity")]
    pub tcp_idle_timeout: Duration,
    /// Pending queries (those waiting for upstreams) of all clients, 100 to 1000000. Above the limit, UDP queries are
    /// dropped and counted, and TCP queries get SERVFAIL.
    pub in_flight: usize,
    /// Pending queries per client, 1 to 1000000, with the same effect above the limit. Raise it for a resolver that
    /// forwards the queries of a whole network.
    pub in_flight_per_client: usize,
    /// Allow a second namegate to listen on the same addresses and to take over without losing a query
    /// (docs/operations/upgrade.md). Starting a second one by mistake is then no longer an error.
    pub reuse_port: bool,
    /// Reload when settings, allowlists, local zones or certificates change. Set false to reload only when told:
    /// `namegate reload`, or SIGHUP.
    pub watch: bool,
    /// Directory where namegate stores grants (temporary allows), `audit.log`, the uses of rules and the history of
    /// lookups, so that they survive a restart. Use one directory for each process. Empty: they end with the process.
    #[serde(serialize_with = "serializers::optional_path")]
    pub state_directory: Option<PathBuf>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 1053))],
            workers: limits::WORKERS.default,
            udp_payload: limits::UDP_PAYLOAD.default,
            identity: String::new(),
            allow_clients: private_subnets(),
            other_clients: OtherClients::Refuse,
            ipv6_prefix_length: limits::IPV6_PREFIX_LENGTH.default,
            tcp_connections: limits::TCP_CONNECTIONS.default,
            tcp_connections_per_client: limits::TCP_CONNECTIONS_PER_CLIENT.default,
            tcp_queries_per_connection: limits::TCP_QUERIES_PER_CONNECTION.default,
            tcp_idle_timeout: limits::TCP_IDLE_TIMEOUT.default,
            in_flight: limits::IN_FLIGHT.default,
            in_flight_per_client: limits::IN_FLIGHT_PER_CLIENT.default,
            reuse_port: false,
            watch: true,
            state_directory: None,
        }
    }
}

/// Reply to clients outside `allow_clients`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtherClients {
    /// REFUSED.
    Refuse,
    /// No reply; TCP connections are closed as soon as they are accepted.
    Drop,
}

/// Loopback, private addresses (RFC 1918, RFC 4193), and the source address of Azure's load balancer probes.
fn private_subnets() -> Vec<IpNet> {
    let v4 = |address: [u8; 4], prefix| IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from(address), prefix));
    let unique_local = Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0);
    vec![
        v4([127, 0, 0, 0], 8),
        IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        v4([10, 0, 0, 0], 8),
        v4([172, 16, 0, 0], 12),
        v4([192, 168, 0, 0], 16),
        IpNet::V6(Ipv6Net::new_assert(unique_local, 7)),
        v4([168, 63, 129, 16], 32),
    ]
}

pub(super) fn server(mut section: Section<'_, '_>, base: &Path) -> ServerSettings {
    let default = ServerSettings::default();
    let server = ServerSettings {
        listen: section.some("listen", value::listen_address).map_or(default.listen, plain),
        workers: section.limited("workers", limits::WORKERS),
        udp_payload: section.limited("udp_payload", limits::UDP_PAYLOAD),
        identity: section.parsed_or("identity", value::identity, default.identity),
        allow_clients: clients(&mut section).unwrap_or(default.allow_clients),
        other_clients: section.or("other_clients", default.other_clients),
        ipv6_prefix_length: section.limited("ipv6_prefix_length", limits::IPV6_PREFIX_LENGTH),
        tcp_connections: section.limited("tcp_connections", limits::TCP_CONNECTIONS),
        tcp_connections_per_client: section
            .limited("tcp_connections_per_client", limits::TCP_CONNECTIONS_PER_CLIENT),
        tcp_queries_per_connection: section
            .limited("tcp_queries_per_connection", limits::TCP_QUERIES_PER_CONNECTION),
        tcp_idle_timeout: section.limited("tcp_idle_timeout", limits::TCP_IDLE_TIMEOUT),
        in_flight: section.limited("in_flight", limits::IN_FLIGHT),
        in_flight_per_client: section.limited("in_flight_per_client", limits::IN_FLIGHT_PER_CLIENT),
        reuse_port: section.or("reuse_port", default.reuse_port),
        watch: section.or("watch", default.watch),
        state_directory: optional_path(&mut section, "state_directory", base),
    };
    section.finish();
    server
}

fn clients(section: &mut Section<'_, '_>) -> Option<Vec<IpNet>> {
    let subnets = section.some("allow_clients", value::subnet)?;
    for subnet in subnets.iter().filter(|subnet| subnet.get_ref().prefix_len() == 0) {
        let help = "list only the subnets you serve".to_owned();
        section.faults.warning(&subnet.span(), "this serves the whole internet: an open resolver", help);
    }
    Some(plain(subnets))
}
