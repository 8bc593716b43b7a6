//! Settings of `[upstream]`: where allowed queries go.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use toml::Spanned;

use crate::address::roots::Roots;
use crate::address::upstream::UpstreamAddress;
use crate::config::values::plain;
use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;

/// Where allowed queries go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamSettings {
    /// Upstream servers in order of preference: "system" for the resolvers this machine is configured with, "10.0.0.4",
    /// "10.0.0.4:5353", `"[fd00::4]:53"`, or `"tcp://10.0.0.4"` for TCP only. Encrypted:
    /// `"tls://10.0.0.4#dns.example"`, `"https://10.0.0.4/dns-query#dns.example"` or `"quic://10.0.0.4#dns.example"`;
    /// the server's certificate must match the name after "#". A host name alone, as in `"tls://dns.example"`, needs
    /// `bootstrap`. No other servers are queried, except those of routes, allowlists and `bootstrap`.
    pub servers: Vec<UpstreamAddress>,
    /// Time limit for one query, retries included, 1s to 30s. Below 4s private names in Azure may fail; above 5s
    /// clients that use musl give up before they get an answer.
    #[serde(serialize_with = "serializers::quantity")]
    pub deadline: Duration,
    /// Queries in flight to one server, 1 to 65535. Azure's resolver drops queries above 200; raise this limit for
    /// other servers. One client may use as many slots as are still free: alone it gets half of them, and less when
    /// other clients use some. If a whole network uses one address (source NAT, a forwarder), raise the limit as far as
    /// the server allows.
    pub max_in_flight: usize,
    /// Queries per second to one server; 0 means no limit. Azure's resolver drops queries above 1000; raise this limit
    /// for other servers.
    pub max_qps: u32,
    /// Send names in random upper and lower case over UDP, and reject replies that do not repeat the same case
    /// ("0x20"). Enable it if others can send packets into the network between namegate and the upstream, and the
    /// upstream preserves case, as nearly all do.
    pub randomize_case: bool,
    /// Certificate authorities for encrypted servers: "platform" for those this machine trusts, or the path of a PEM
    /// file.
    #[serde(serialize_with = "serializers::roots")]
    pub roots: Roots,
    /// Plain DNS resolvers, such as "10.0.0.4", used only to resolve the host names of encrypted servers and of
    /// `webhook.url`.
    pub bootstrap: Vec<SocketAddr>,
}

impl Default for UpstreamSettings {
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

pub(super) fn upstream(mut section: Section<'_, '_>, base: &Path) -> UpstreamSettings {
    let default = UpstreamSettings::default();
    let servers = section.some("servers", str::parse::<UpstreamAddress>);
    let bootstrap = section.set("bootstrap", value::resolver).map_or(default.bootstrap, plain);
    for server in servers.iter().flatten() {
        if let Some(error) = value::needs_bootstrap(server.get_ref(), &bootstrap) {
            section.faults.error(&server.span(), error.message, error.help);
        }
    }
    let upstream = UpstreamSettings {
        servers: servers.map_or(default.servers, plain),
        deadline: section.limited("deadline", limits::DEADLINE),
        max_in_flight: section.limited("max_in_flight", limits::MAX_IN_FLIGHT),
        max_qps: section.limited("max_qps", limits::MAX_QPS),
        randomize_case: section.or("randomize_case", default.randomize_case),
        roots: section
            .parsed("roots", |text| value::roots(text, base))
            .map_or(default.roots, Spanned::into_inner),
        bootstrap,
    };
    section.finish();
    upstream
}
