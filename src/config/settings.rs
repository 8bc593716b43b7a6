//! [`Settings`]: everything that can be set, read, checked and resolved. Its [`Default`] is the one place of defaults.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::address::roots::Roots;
use crate::address::upstream::UpstreamAddress;
use crate::config::admin::Admin;
use crate::config::cache::Cache;
use crate::config::client::ClientGroup;
use crate::config::cookies::Cookies;
use crate::config::log::{Dnstap, Log};
use crate::config::prove::Prove;
use crate::config::rate_limit::RateLimit;
use crate::config::route::Route;
use crate::config::sandbox::Sandbox;
use crate::config::tunnel_guard::TunnelGuard;
use crate::config::{limits, write};
use crate::policy::Mode;
use crate::policy::cname::CnamePolicy;
use crate::policy::rule::Pattern;
use crate::wire::name::Name;

/// Everything that can be set. Paths are resolved against the settings file's directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// `[server]`
    pub server: Server,
    /// `[rate_limit]`
    pub rate_limit: RateLimit,
    /// `[cookies]`
    pub cookies: Cookies,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[policy]`
    pub policy: Policy,
    /// `[parameters]`: values for `{name}` in zone files; each value is one label in lower case, no list is empty.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// `[[client]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client: Vec<ClientGroup>,
    /// `[[route]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<Route>,
    /// `[[local]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<Local>,
    /// `[block]`
    pub block: Block,
    /// `[tunnel_guard]`
    pub tunnel_guard: TunnelGuard,
    /// `[cache]`
    pub cache: Cache,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[dnstap]`
    pub dnstap: Dnstap,
    /// `[prove]`
    pub prove: Prove,
    /// `[sandbox]`
    pub sandbox: Sandbox,
}

/// What clients reach.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Server {
    /// Where UDP and TCP are listened on; at least one.
    pub listen: Vec<SocketAddr>,
    /// [`limits::WORKERS`]; 0: one per core.
    pub workers: usize,
    /// [`limits::UDP_PAYLOAD`], bytes.
    pub udp_payload: u16,
    /// The answer to `id.server` and `hostname.bind`; empty: refused.
    pub identity: String,
    /// Who is answered. At least one.
    pub allow_clients: Vec<IpNet>,
    /// What everyone else gets.
    pub other_clients: OtherClients,
    /// [`limits::IPV6_PREFIX_LENGTH`]
    pub ipv6_prefix_length: u8,
    /// [`limits::TCP_CONNECTIONS`]
    pub tcp_connections: usize,
    /// [`limits::TCP_CONNECTIONS_PER_CLIENT`]
    pub tcp_connections_per_client: usize,
    /// [`limits::TCP_QUERIES_PER_CONNECTION`]
    pub tcp_queries_per_connection: usize,
    /// [`limits::TCP_IDLE_TIMEOUT`]
    #[serde(serialize_with = "write::quantity")]
    pub tcp_idle_timeout: Duration,
    /// [`limits::IN_FLIGHT`]
    pub in_flight: usize,
    /// [`limits::IN_FLIGHT_PER_CLIENT`]
    pub in_flight_per_client: usize,
    /// Other processes may listen on the same addresses, to take over.
    pub reuse_port: bool,
    /// Where is kept what must outlive the process: temporary allowances; none: nothing does.
    #[serde(serialize_with = "write::optional_path")]
    pub state_directory: Option<PathBuf>,
}

impl Default for Server {
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
            state_directory: None,
        }
    }
}

/// What clients outside `allow_clients` get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtherClients {
    /// REFUSED.
    Refuse,
    /// No reply; TCP connections are closed when they are accepted.
    Drop,
}

/// Loopback, private addresses (RFC 1918, RFC 4193), and the address that Azure's load balancer probes come from.
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

/// Where allowed queries go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Upstream {
    /// In order of preference; at least one.
    pub servers: Vec<UpstreamAddress>,
    /// [`limits::DEADLINE`], for one query over all servers and retries.
    #[serde(serialize_with = "write::quantity")]
    pub deadline: Duration,
    /// [`limits::MAX_IN_FLIGHT`], for each server.
    pub max_in_flight: usize,
    /// [`limits::MAX_QPS`], for each server; 0: no limit.
    pub max_qps: u32,
    /// Over UDP the letters of names are sent in a case drawn by chance, and replies must repeat it.
    pub randomize_case: bool,
    /// Whose certificates encrypted servers must have.
    #[serde(serialize_with = "write::roots")]
    pub roots: Roots,
    /// Plain resolvers that know the addresses of encrypted servers written with a host name.
    pub bootstrap: Vec<SocketAddr>,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            servers: vec![UpstreamAddress::System],
            deadline: limits::DEADLINE.default,
            max_in_flight: limits::MAX_IN_FLIGHT.default,
            max_qps: limits::MAX_QPS.default,
            randomize_case: false,
            roots: Roots::Platform,
            bootstrap: Vec::new(),
        }
    }
}

/// What is allowed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Policy {
    /// Whether the verdict is carried out.
    pub mode: Mode,
    /// Zones by name, or paths that end in `.toml` or `.list`.
    pub zones: Vec<String>,
    /// A directory whose `NAME.toml` and `NAME.list` files come before the shipped ones.
    #[serde(serialize_with = "write::optional_path")]
    pub zones_directory: Option<PathBuf>,
    /// Leave out rules marked `broad`.
    pub strict: bool,
    /// Names allowed besides the zones.
    pub allow: Vec<InlineRule>,
    /// Names blocked whatever the zones say.
    pub deny: Vec<InlineRule>,
    /// What becomes of aliases in answers, where a zone does not say.
    pub cname: CnamePolicy,
    /// Answers with other addresses than their rule expects are not given.
    pub enforce_expect: bool,
    /// Forward DS, DNSKEY, NS and SOA queries for the zones above allowed names.
    pub dnssec_ancestors: bool,
    /// Settings whose policy is evaluated beside this one, for the difference; none: nothing is.
    #[serde(serialize_with = "write::optional_path")]
    pub shadow: Option<PathBuf>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Enforce,
            zones: ["azure-ml", "azure-government", "python", "r"].map(String::from).to_vec(),
            zones_directory: None,
            strict: false,
            allow: Vec::new(),
            deny: Vec::new(),
            cname: CnamePolicy::Trust,
            enforce_expect: false,
            dnssec_ancestors: true,
            shadow: None,
        }
    }
}

/// A rule written in the settings. Equal where the pattern is: the line says only where it was read.
#[derive(Clone, Debug)]
pub struct InlineRule {
    /// Which names it covers.
    pub pattern: Pattern,
    /// Its line in the settings file, counted from 1.
    pub line: u32,
}

impl InlineRule {
    /// A rule that is written nowhere.
    fn shipped(text: &str) -> Option<Self> {
        Pattern::parse(text).ok().map(|pattern| Self { pattern, line: 0 })
    }
}

impl PartialEq for InlineRule {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

/// A zone served from a master file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Local {
    /// The name the zone begins at.
    #[serde(serialize_with = "write::shown")]
    pub origin: Name,
    /// The master file (RFC 1035 section 5).
    #[serde(serialize_with = "write::path")]
    pub file: PathBuf,
}

/// How a blocked name is answered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Block {
    /// The kind of answer.
    pub answer: BlockAnswer,
    /// [`limits::BLOCK_TTL`], whole seconds.
    #[serde(serialize_with = "write::quantity")]
    pub ttl: Duration,
    /// Blocked names that machines ask on their own, counted apart.
    pub noise: Vec<InlineRule>,
    /// Names of one label are noise.
    pub noise_single_labels: bool,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            answer: BlockAnswer::Nxdomain,
            ttl: limits::BLOCK_TTL.default,
            noise: NOISE.iter().filter_map(|text| InlineRule::shipped(text)).collect(),
            noise_single_labels: true,
        }
    }
}

/// Suffixes that stub resolvers put behind names: Azure's placeholder for networks with DNS servers of their own and its
/// default zone (Microsoft Learn, "Name resolution for resources in Azure virtual networks"), and what home routers, mDNS
/// (RFC 6762) and private networks use (RFC 8375).
const NOISE: [&str; 7] = [
    ".reddog.microsoft.com",
    ".internal.cloudapp.net",
    ".local",
    ".localdomain",
    ".lan",
    ".home",
    ".home.arpa",
];

/// The answer to a blocked name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlockAnswer {
    /// The name does not exist.
    Nxdomain,
    /// The name exists and has no such record.
    Nodata,
    /// REFUSED: clients may go on to their next server.
    Refused,
}
