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
    /// Resolvers to ask, in order of preference: "system" for those this machine is configured with, "10.0.0.4",
    /// "10.0.0.4:5353", `"[fd00::4]:53"`, or `"tcp://10.0.0.4"` for TCP alone. Encrypted:
    /// `"tls://10.0.0.4#dns.example"`, `"https://10.0.0.4/dns-query#dns.example"` or `"quic://10.0.0.4#dns.example"`,
    /// with the name that the server's certificate is for behind "#", or `"tls://dns.example"` and so on with a host
    /// name alone. No others are ever asked.
    pub servers: Vec<UpstreamAddress>,
    /// The whole time one query may take, 1s to 30s. Below 4s private names in Azure may fail; above 5s clients that
    /// use musl give up before they are answered.
    #[serde(serialize_with = "serializers::quantity")]
    pub deadline: Duration,
    /// Queries waiting at one server at once, 1 to 65535. Azure's resolver drops beyond 200; raise it for others. One
    /// client gets as many as it leaves free for others, alone half of them: where a whole network comes from one
    /// address (source NAT, a resolver in front), raise it with what the server takes.
    pub max_in_flight: usize,
    /// Queries per second to one server; 0 is no limit. Azure's resolver drops beyond 1000; raise it for others.
    pub max_qps: u32,
    /// Send names over UDP with upper and lower case by chance, and ignore replies that do not repeat it ("0x20"). Turn
    /// it on where the way to the upstream crosses a network that others send into, and the upstream keeps the case, as
    /// nearly all do.
    pub randomize_case: bool,
    /// Whose certificates encrypted servers must have: "platform" for those this machine trusts, or the path of a PEM
    /// file.
    #[serde(serialize_with = "serializers::roots")]
    pub roots: Roots,
    /// Plain resolvers, such as "10.0.0.4", that are asked for the addresses of encrypted servers written with a host
    /// name, and for nothing else.
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
