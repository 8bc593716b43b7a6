//! [`Settings`]: everything that can be set, read, checked and resolved.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use toml::de::DeTable;

use crate::config::admin::{AdminSettings, admin};
use crate::config::block::{BlockSettings, block};
use crate::config::cache::{CacheSettings, cache};
use crate::config::client::{ClientGroup, client_groups};
use crate::config::cookies::{CookieSettings, cookies};
use crate::config::local::{LocalZoneSettings, local};
use crate::config::log::{DnstapSettings, LogSettings, dnstap, log};
use crate::config::policy::{PolicySettings, policy};
use crate::config::prove::{ProveSettings, prove};
use crate::config::rate_limit::{RateLimitSettings, rate_limit};
use crate::config::route::{RouteSettings, routes};
use crate::config::sandbox::{SandboxSettings, sandbox};
use crate::config::server::{ServerSettings, server};
use crate::config::tunnel_guard::{TunnelGuardSettings, tunnel_guard};
use crate::config::upstream::{UpstreamSettings, upstream};
use crate::config::values::parameter_lists;
use crate::diagnostics::{Diagnostic, Faults, Section, Source};

/// Everything that can be set. Paths are resolved against the settings file's directory.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// `[server]`
    pub server: ServerSettings,
    /// `[rate_limit]`
    pub rate_limit: RateLimitSettings,
    /// `[cookies]`
    pub cookies: CookieSettings,
    /// `[upstream]`
    pub upstream: UpstreamSettings,
    /// `[policy]`
    pub policy: PolicySettings,
    /// `[parameters]`: values for `{name}` in zone files; each value is one label in lower case, no list is empty.
    pub parameters: BTreeMap<String, Vec<String>>,
    /// `[[client]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client: Vec<ClientGroup>,
    /// `[[route]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteSettings>,
    /// `[[local]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<LocalZoneSettings>,
    /// `[block]`
    pub block: BlockSettings,
    /// `[tunnel_guard]`
    pub tunnel_guard: TunnelGuardSettings,
    /// `[cache]`
    pub cache: CacheSettings,
    /// `[admin]`
    pub admin: AdminSettings,
    /// `[log]`
    pub log: LogSettings,
    /// `[dnstap]`
    pub dnstap: DnstapSettings,
    /// `[prove]`
    pub prove: ProveSettings,
    /// `[sandbox]`
    pub sandbox: SandboxSettings,
}

impl Settings {
    /// The effective settings as TOML that reads back equal. Relative paths are as seen from the working directory.
    pub fn to_toml(&self) -> String {
        // Every type in the settings has a TOML form, so the error is never seen; a comment would be read as defaults.
        toml::to_string(self).unwrap_or_else(|error| format!("error = {:?}\n", error.to_string()))
    }
}

/// Reads all settings from `source`; what is absent or faulty has its default. Relative paths begin at `base`.
///
/// The settings are meant to be used only where no diagnostic is an error.
pub fn settings(source: &Source, base: &Path) -> (Settings, Vec<Diagnostic>) {
    let mut faults = Faults::new(source);
    let (table, errors) = DeTable::parse_recoverable(source.text());
    errors.iter().for_each(|error| faults.syntax(error));
    let mut root = Section::new("", table.into_inner(), 0..0, &mut faults);
    let server = server(root.section("server"), base);
    let upstream = upstream(root.section("upstream"), base);
    let policy = policy(root.section("policy"), base);
    let settings = Settings {
        parameters: parameter_lists(root.section("parameters")),
        client: client_groups(&mut root, &server.allow_clients, &policy, base),
        route: routes(&mut root, &upstream.bootstrap),
        server,
        rate_limit: rate_limit(root.section("rate_limit")),
        cookies: cookies(root.section("cookies"), base),
        upstream,
        policy,
        local: local(&mut root, base),
        block: block(root.section("block")),
        tunnel_guard: tunnel_guard(root.section("tunnel_guard")),
        cache: cache(root.section("cache")),
        admin: admin(root.section("admin"), base),
        log: log(root.section("log"), base),
        dnstap: dnstap(root.section("dnstap"), base),
        prove: prove(root.section("prove")),
        sandbox: sandbox(root.section("sandbox")),
    };
    root.finish();
    (settings, faults.into_found())
}
