//! [`Settings`]: everything that can be set, read, checked and resolved.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use toml::de::DeTable;

use crate::config::admin::{Admin, admin};
use crate::config::block::{Block, block};
use crate::config::cache::{Cache, cache};
use crate::config::client::{ClientGroup, client_groups};
use crate::config::cookies::{Cookies, cookies};
use crate::config::local::{Local, local};
use crate::config::log::{Dnstap, Log, dnstap, log};
use crate::config::policy::{Policy, policy};
use crate::config::prove::{Prove, prove};
use crate::config::rate_limit::{RateLimit, rate_limit};
use crate::config::route::{Route, routes};
use crate::config::sandbox::{Sandbox, sandbox};
use crate::config::server::{Server, server};
use crate::config::tunnel_guard::{TunnelGuard, tunnel_guard};
use crate::config::upstream::{Upstream, upstream};
use crate::config::values::parameter_lists;
use crate::diagnostics::{Diagnostic, Faults, Section, Source};

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
