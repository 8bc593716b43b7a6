//! Settings from the text of a settings file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use crate::address::upstream::UpstreamAddress;
use crate::config::admin::{self, Admin};
use crate::config::cache::cache;
use crate::config::client::client_groups;
use crate::config::cookies::cookies;
use crate::config::log::{Dnstap, Log};
use crate::config::prove::Prove;
use crate::config::rate_limit::rate_limit;
use crate::config::route::routes;
use crate::config::sandbox::sandbox;
use crate::config::settings::{Block, InlineRule, Local, Policy, Server, Settings, Upstream};
use crate::config::tunnel_guard::tunnel_guard;
use crate::config::{allowlist_name, limits, value};
use crate::diagnostics::{Diagnostic, Faults, Section, Source, ValueError};
use crate::wire::name::Name;

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

fn server(mut section: Section<'_, '_>, base: &Path) -> Server {
    let default = Server::default();
    let server = Server {
        listen: section.some("listen", value::listen_address).map_or(default.listen, plain),
        workers: section.limited("workers", limits::WORKERS),
        udp_payload: section.limited("udp_payload", limits::UDP_PAYLOAD),
        identity: section.parsed("identity", value::identity).map_or(default.identity, Spanned::into_inner),
        allow_clients: clients(&mut section).unwrap_or(default.allow_clients),
        other_clients: section.field("other_clients").map_or(default.other_clients, Spanned::into_inner),
        ipv6_prefix_length: section.limited("ipv6_prefix_length", limits::IPV6_PREFIX_LENGTH),
        tcp_connections: section.limited("tcp_connections", limits::TCP_CONNECTIONS),
        tcp_connections_per_client: section
            .limited("tcp_connections_per_client", limits::TCP_CONNECTIONS_PER_CLIENT),
        tcp_queries_per_connection: section
            .limited("tcp_queries_per_connection", limits::TCP_QUERIES_PER_CONNECTION),
        tcp_idle_timeout: section.limited("tcp_idle_timeout", limits::TCP_IDLE_TIMEOUT),
        in_flight: section.limited("in_flight", limits::IN_FLIGHT),
        in_flight_per_client: section.limited("in_flight_per_client", limits::IN_FLIGHT_PER_CLIENT),
        reuse_port: section.field("reuse_port").map_or(default.reuse_port, Spanned::into_inner),
        state_directory: optional_path(&mut section, "state_directory", base),
    };
    section.finish();
    server
}

fn clients(section: &mut Section<'_, '_>) -> Option<Vec<ipnet::IpNet>> {
    let subnets = section.some("allow_clients", value::subnet)?;
    for subnet in subnets.iter().filter(|subnet| subnet.get_ref().prefix_len() == 0) {
        let help = "name the subnets that are to be served".to_owned();
        section.faults.warning(&subnet.span(), "this answers the whole internet: an open resolver", help);
    }
    Some(plain(subnets))
}

fn upstream(mut section: Section<'_, '_>, base: &Path) -> Upstream {
    let default = Upstream::default();
    let servers = section.some("servers", str::parse::<UpstreamAddress>);
    let bootstrap = section.set("bootstrap", value::resolver).map_or(default.bootstrap, plain);
    for server in servers.iter().flatten() {
        if let Some(error) = value::needs_bootstrap(server.get_ref(), &bootstrap) {
            section.faults.error(&server.span(), error.message, error.help);
        }
    }
    let upstream = Upstream {
        servers: servers.map_or(default.servers, plain),
        deadline: section.limited("deadline", limits::DEADLINE),
        max_in_flight: section.limited("max_in_flight", limits::MAX_IN_FLIGHT),
        max_qps: section.limited("max_qps", limits::MAX_QPS),
        randomize_case: section.field("randomize_case").map_or(default.randomize_case, Spanned::into_inner),
        roots: section
            .parsed("roots", |text| value::roots(text, base))
            .map_or(default.roots, Spanned::into_inner),
        bootstrap,
    };
    section.finish();
    upstream
}

fn policy(mut section: Section<'_, '_>, base: &Path) -> Policy {
    let default = Policy::default();
    let zones_directory = optional_path(&mut section, "zones_directory", base);
    let zones = zones(&mut section, zones_directory.as_deref(), base);
    let policy = Policy {
        mode: section.parsed("mode", value::word).map_or(default.mode, Spanned::into_inner),
        zones: zones.map_or(default.zones, plain),
        zones_directory,
        strict: section.field("strict").map_or(default.strict, Spanned::into_inner),
        allow: inline_rules(&mut section, "allow").unwrap_or_default(),
        deny: inline_rules(&mut section, "deny").unwrap_or_default(),
        cname: section.parsed("cname", value::word).map_or(default.cname, Spanned::into_inner),
        enforce_expect: section.field("enforce_expect").map_or(default.enforce_expect, Spanned::into_inner),
        dnssec_ancestors: section
            .field("dnssec_ancestors")
            .map_or(default.dnssec_ancestors, Spanned::into_inner),
        shadow: optional_path(&mut section, "shadow", base),
    };
    section.finish();
    policy
}

/// The zones a policy names; paths begin at `base`, and each must be there.
pub(super) fn zones(
    section: &mut Section<'_, '_>,
    directory: Option<&Path>,
    base: &Path,
) -> Option<Vec<Spanned<String>>> {
    let zone = |text: &str| {
        let zone = allowlist_name::allowlist_name(text)?;
        let path = || base.join(&zone).display().to_string();
        Ok::<_, ValueError>(if allowlist_name::is_path(&zone) { path() } else { zone })
    };
    let zones = section.set("zones", zone);
    for zone in zones.iter().flatten() {
        if let Some(unknown) = allowlist_name::unknown(zone.get_ref(), directory) {
            section.faults.error(&zone.span(), unknown.message, unknown.help);
        }
    }
    zones
}

/// Rules written in the settings themselves.
pub(super) fn inline_rules(section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<InlineRule>> {
    let patterns = section.set(key, value::inline_rule)?;
    let rule = |pattern: Spanned<_>| InlineRule {
        line: section.faults.line(pattern.span().start),
        pattern: pattern.into_inner(),
    };
    Some(patterns.into_iter().map(rule).collect())
}

/// Values of parameters by their names.
pub(super) fn parameter_lists(section: Section<'_, '_>) -> BTreeMap<String, Vec<String>> {
    let is_key = |key: &str| {
        let refused =
            || ValueError::new(format!("`{key}` is no parameter's name"), "write `a` to `z` and `_`");
        value::is_parameter_name(key).then_some(()).ok_or_else(refused)
    };
    let lists = section.lists(is_key, value::label).into_iter().map(|(name, values)| (name, plain(values)));
    lists.filter(|(_, values)| !values.is_empty()).collect()
}

fn local(root: &mut Section<'_, '_>, base: &Path) -> Vec<Local> {
    let mut zones = Vec::new();
    for (table, span) in root.sections("local") {
        let mut section = Section::new("local", table, span, root.faults);
        let origin = section.required("origin", value::origin);
        let file = section.required("file", |text| match text {
            "" => Err(ValueError::new("the path is empty", "write the path of a master file")),
            text => Ok(base.join(text)),
        });
        section.finish();
        if let (Some(origin), Some(file)) = (origin, file) {
            zones.push(Local { origin: origin.into_inner(), file: file.into_inner() });
        }
    }
    zones
}

fn block(mut section: Section<'_, '_>) -> Block {
    let default = Block::default();
    let block = Block {
        answer: section.parsed("answer", value::word).map_or(default.answer, Spanned::into_inner),
        ttl: section.limited("ttl", limits::BLOCK_TTL),
        noise: inline_rules(&mut section, "noise").unwrap_or(default.noise),
        noise_single_labels: section
            .field("noise_single_labels")
            .map_or(default.noise_single_labels, Spanned::into_inner),
    };
    section.finish();
    block
}

fn admin(mut section: Section<'_, '_>, base: &Path) -> Admin {
    let default = Admin::default();
    let admin = Admin {
        listen: section.parsed("listen", value::admin_address).map_or(default.listen, Spanned::into_inner),
        hosts: section.set("hosts", admin::host).map_or(default.hosts, plain),
        token_file: optional_path(&mut section, "token_file", base),
        max_temporary: section.limited("max_temporary", limits::MAX_TEMPORARY),
        top: section.limited("top", limits::TOP),
    };
    section.finish();
    admin
}

fn log(mut section: Section<'_, '_>, base: &Path) -> Log {
    let default = Log::default();
    let log = Log {
        level: section.parsed("level", value::word).map_or(default.level, Spanned::into_inner),
        format: section.parsed("format", value::word).map_or(default.format, Spanned::into_inner),
        queries: section.parsed("queries", value::word).map_or(default.queries, Spanned::into_inner),
        sample: section.limited("sample", limits::SAMPLE),
        client: section.parsed("client", value::word).map_or(default.client, Spanned::into_inner),
        answers: section.field("answers").map_or(default.answers, Spanned::into_inner),
        stdout: section.field("stdout").map_or(default.stdout, Spanned::into_inner),
        file: optional_path(&mut section, "file", base),
        file_max_size: section.limited("file_max_size", limits::FILE_BYTES),
        file_keep: section.limited("file_keep", limits::FILE_KEEP),
    };
    section.finish();
    log
}

fn dnstap(mut section: Section<'_, '_>, base: &Path) -> Dnstap {
    let default = Dnstap::default();
    let dnstap = Dnstap {
        socket: optional_path(&mut section, "socket", base),
        queries: section.parsed("queries", value::word).map_or(default.queries, Spanned::into_inner),
    };
    section.finish();
    dnstap
}

fn prove(mut section: Section<'_, '_>) -> Prove {
    let default = Prove::default();
    let prove = Prove {
        interval: section.limited("interval", limits::PROVE_INTERVAL),
        must_resolve: canaries(&mut section, "must_resolve").unwrap_or(default.must_resolve),
        must_not_resolve: canaries(&mut section, "must_not_resolve").unwrap_or(default.must_not_resolve),
    };
    section.finish();
    prove
}

fn canaries(section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<Name>> {
    let names = section.set(key, value::canary)?;
    if let Some(beyond) = names.get(limits::CANARIES) {
        let message = format!("`prove.{key}`: at most {} names can be watched", limits::CANARIES);
        section.faults.error(&beyond.span(), message, "keep those that tell most".to_owned());
    }
    Some(plain(names))
}

/// A path, none where it is empty or absent.
pub(super) fn optional_path(
    section: &mut Section<'_, '_>,
    key: &'static str,
    base: &Path,
) -> Option<PathBuf> {
    let text = section.parsed(key, |text| Ok::<_, ValueError>(text.to_owned()))?;
    Some(text.into_inner()).filter(|text| !text.is_empty()).map(|text| base.join(text))
}

/// Values without their places.
pub(super) fn plain<T>(values: Vec<Spanned<T>>) -> Vec<T> {
    values.into_iter().map(Spanned::into_inner).collect()
}
