//! [`Settings`]: all settings, read and checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use toml::de::DeTable;

use crate::address::roots::Roots;
use crate::config::admin::{AdminSettings, admin};
use crate::config::allowlist_name::{files_of, is_path};
use crate::config::block::{BlockSettings, block};
use crate::config::cache::{CacheSettings, cache};
use crate::config::client::{ClientGroup, client_groups};
use crate::config::cookies::{CookieSettings, cookies};
use crate::config::history::{HistorySettings, history};
use crate::config::local::{LocalZoneSettings, local};
use crate::config::log::{DnstapSettings, LogSettings, dnstap, log};
use crate::config::policy::{PolicySettings, policy};
use crate::config::prove::{ProveSettings, prove};
use crate::config::rate_limit::{RateLimitSettings, rate_limit};
use crate::config::requests::{RequestSettings, requests};
use crate::config::route::{RouteSettings, routes};
use crate::config::sandbox::{SandboxSettings, sandbox};
use crate::config::server::{ServerSettings, server};
use crate::config::tunnel_guard::{TunnelGuardSettings, tunnel_guard};
use crate::config::upstream::{UpstreamSettings, upstream};
use crate::config::values::parameter_lists;
use crate::config::webhook::{WebhookSettings, webhook};
use crate::diagnostics::{Diagnostic, Faults, Section, Source};

/// All settings. Paths are resolved against the settings file's directory.
///
/// The doc comments here and on each section's fields are for operators: `config/every-option.toml` is generated from
/// them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Settings {
    /// Listeners, clients and their limits.
    pub server: ServerSettings,
    /// Response rate limiting: UDP replies per client and second.
    pub rate_limit: RateLimitSettings,
    /// DNS cookies, against forged client addresses.
    pub cookies: CookieSettings,
    /// Where allowed queries go.
    pub upstream: UpstreamSettings,
    /// Which names are allowed.
    pub policy: PolicySettings,
    /// Values for rules with parameters such as {region} and {storage}. A rule whose parameter is not set is inactive.
    /// Each value is one label. Your own allowlists may use other parameters, with names of a to z and _.
    ///
    /// ```toml
    /// [parameters]
    /// region = ["westeurope"]
    /// storage = ["workspacestorage"]
    /// acr = ["workspaceregistry"]
    /// key_vault = ["workspacevault"]
    /// ```
    pub parameters: BTreeMap<String, Vec<String>>,
    /// Client groups: clients with their own rules. Repeat the table for each group. A group takes what it does not set
    /// from `[policy]` and `[parameters]`; its `deny` adds to that of `[policy]`. If subnets overlap, the most specific
    /// one applies.
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
    /// Routes: names that go to other upstream servers, if a rule allows them. Repeat the table for each route. The
    /// most specific pattern applies. Cache entries are separate for each route.
    ///
    /// ```toml
    /// [[route]]
    /// names = [".corp.example", ".10.in-addr.arpa"]
    /// servers = ["10.0.0.4"]
    /// ```
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub route: Vec<RouteSettings>,
    /// Local zones: answered from a master file instead of an upstream. Repeat the table for each zone.
    ///
    /// ```toml
    /// [[local]]
    /// origin = "corp.example"
    /// file = "corp.example.zone"
    /// ```
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub local: Vec<LocalZoneSettings>,
    /// How blocked names are answered.
    pub block: BlockSettings,
    /// Limits on new names per client and rule. Below a rule for many names, such as `*.blob.core.windows.net`, query
    /// names can carry data out (DNS tunneling).
    pub tunnel_guard: TunnelGuardSettings,
    /// The cache of upstream answers.
    pub cache: CacheSettings,
    /// The HTTP server: metrics, health checks and status pages.
    pub admin: AdminSettings,
    /// Requests for grants: clients whose names are blocked file them, and holders of the admin token decide them.
    pub requests: RequestSettings,
    /// Webhook: notices of events to another program, over HTTPS.
    pub webhook: WebhookSettings,
    /// The log, and which queries it contains.
    pub log: LogSettings,
    /// Past lookups, for `namegate log` and the status page.
    pub history: HistorySettings,
    /// dnstap: complete queries and replies for another program.
    pub dnstap: DnstapSettings,
    /// Self-test (canaries): namegate sends queries for these names to itself.
    pub prove: ProveSettings,
    /// Privileges that namegate gives up for good after it has bound its sockets. The log shows which are in force.
    pub sandbox: SandboxSettings,
}

impl Settings {
    /// The effective settings as TOML that reads back equal. Relative paths start at the working directory.
    pub fn to_toml(&self) -> String {
        // Every type in the settings has a TOML form, so this error never occurs. A comment would read as defaults.
        toml::to_string(self).unwrap_or_else(|error| format!("error = {:?}\n", error.to_string()))
    }

    /// The files that these settings name and every reload reads, whether they exist or not: allowlists, local zones,
    /// certificates and cookie secrets.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let Self { policy, client, local, upstream, cookies, .. } = self;
        let directory = policy.zones_directory.as_deref();
        let zones = client.iter().filter_map(|group| group.zones.as_ref()).chain([&policy.zones]).flatten();
        let of_zone = |zone: &String| match (is_path(zone), directory) {
            (true, _) => vec![PathBuf::from(zone)],
            (false, Some(directory)) => files_of(directory, zone).into(),
            (false, None) => Vec::new(),
        };
        let mut inputs: Vec<PathBuf> = zones.flat_map(of_zone).collect();
        inputs.extend(local.iter().map(|zone| zone.file.clone()));
        if let Roots::File { path, .. } = &upstream.roots {
            inputs.push(path.clone());
        }
        inputs.extend(cookies.secret_file.clone());
        inputs
    }

    /// The files with secrets that these settings name.
    pub fn secrets(&self) -> Vec<PathBuf> {
        let Self { admin, cookies, webhook, .. } = self;
        let secrets =
            [&admin.token_file, &admin.viewer_token_file, &cookies.secret_file, &webhook.secret_file];
        secrets.into_iter().flatten().cloned().collect()
    }
}

/// Reads all settings from `source`; absent and faulty ones get their defaults. Relative paths start at `base`.
///
/// Use the settings only if no diagnostic is an error.
pub fn settings(source: &Source, base: &Path) -> (Settings, Vec<Diagnostic>) {
    let mut faults = Faults::new(source);
    let (table, errors) = DeTable::parse_recoverable(source.text());
    errors.iter().for_each(|error| faults.syntax(error));
    let mut root = Section::new("", table.into_inner(), 0..0, &mut faults);
    let server = server(root.section("server"), base);
    let upstream = upstream(root.section("upstream"), base);
    let policy = policy(root.section("policy"), base);
    let bootstrap = upstream.bootstrap.clone();
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
        requests: requests(root.section("requests")),
        webhook: webhook(root.section("webhook"), base, &bootstrap),
        log: log(root.section("log"), base),
        history: history(root.section("history")),
        dnstap: dnstap(root.section("dnstap"), base),
        prove: prove(root.section("prove")),
        sandbox: sandbox(root.section("sandbox")),
    };
    root.finish();
    (settings, faults.into_found())
}
