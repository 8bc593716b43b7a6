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
///
/// What stands here and at each section's fields is for operators: `config/every-option.toml` is made of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// Who is answered, and how.
    pub server: ServerSettings,
    /// Replies over UDP by client and second.
    pub rate_limit: RateLimitSettings,
    /// DNS cookies.
    pub cookies: CookieSettings,
    /// Where names that are allowed are asked for.
    pub upstream: UpstreamSettings,
    /// What is allowed.
    pub policy: PolicySettings,
    /// Values for the rules that hold {region}, {storage} and the like. A rule without a value sleeps. Each value is one
    /// label; a zone of your own may use any other name of a to z and _.
    ///
    /// ```toml
    /// [parameters]
    /// region = ["westeurope"]
    /// storage = ["workspacestorage"]
    /// acr = ["workspaceregistry"]
    /// key_vault = ["workspacevault"]
    /// ```
    pub parameters: BTreeMap<String, Vec<String>>,
    /// Clients with rules of their own; repeat the table for each group. What a group leaves out it has from `[policy]` and
    /// `[parameters]`; its deny adds to that of `[policy]`. Of nested subnets the narrowest counts.
    ///
    /// ```toml
    /// [[client]]
    /// name = "build"
    /// subnets = ["10.1.0.0/16"]
    /// zones = ["azure-ml", "python"]
    /// mode = "observe"
    /// strict = true
    /// allow = ["proxy.corp.example"]
    /// deny = []
    /// parameters = { storage = ["buildstorage"] }
    /// ```
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub client: Vec<ClientGroup>,
    /// Names that go to servers of their own, if a rule allows them; repeat the table for each. The most specific pattern
    /// counts, and no answer is kept for another route.
    ///
    /// ```toml
    /// [[route]]
    /// names = [".corp.example", ".10.in-addr.arpa"]
    /// servers = ["10.0.0.4"]
    /// ```
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteSettings>,
    /// Zones answered from a master file instead of an upstream; repeat the table for each.
    ///
    /// ```toml
    /// [[local]]
    /// origin = "corp.example"
    /// file = "corp.example.zone"
    /// ```
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<LocalZoneSettings>,
    /// What the client of a name that is not allowed gets.
    pub block: BlockSettings,
    /// How many new names a client may ask for below one rule: names can carry data out below a rule for many names, such
    /// as `*.blob.core.windows.net`.
    pub tunnel_guard: TunnelGuardSettings,
    /// What is remembered of upstream answers.
    pub cache: CacheSettings,
    /// The HTTP side: metrics, health, pages.
    pub admin: AdminSettings,
    /// The log, and which queries are in it.
    pub log: LogSettings,
    /// Queries and replies for another program.
    pub dnstap: DnstapSettings,
    /// What a running gate asks itself.
    pub prove: ProveSettings,
    /// What the process gives up once its sockets are bound, until it ends. The log says what is in force.
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
