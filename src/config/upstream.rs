//! Settings of `[upstream]`: where allowed queries go.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use toml::Spanned;

use crate::address::roots::Roots;
use crate::address::upstream::UpstreamAddress;
use crate::config::values::plain;
use crate::config::{limits, value, write};
use crate::diagnostics::Section;

/// Where allowed queries go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpstreamSettings {
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
