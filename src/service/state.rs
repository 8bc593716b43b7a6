//! Creates the [`State`] that decides queries, from assembled settings and policies.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::address::upstream::UpstreamAddress;
use crate::allowlist::server_lists::ServerLists;
use crate::assemble::Assembly;
use crate::cache::{Cache, Lifetimes};
use crate::config::{self, BlockAnswer, GuardMode, OtherClients, Settings};
use crate::engine::rate_limit::RateLimit;
use crate::engine::{RequestNotice, State, WaitLimits, ZoneIndexes};
use crate::observe::metrics_registry::MetricsRegistry;
use crate::policy::Policies;
use crate::policy::cname::CnamePolicy;
use crate::policy::policies::Group;
use crate::policy::shadow::Shadow;
use crate::policy::tunnel_guard::{TunnelBudget, TunnelGuard};
use crate::policy::verdict::NOT_LISTED;
use crate::service::cookie_secrets::cookies;
use crate::upstream::encrypted::encryption::Encryption;
use crate::upstream::upstreams::Upstreams;
use crate::upstream::{UpstreamConfig, loops, system};
use crate::util::log_event::log;
use crate::wire::denial::Denial;

/// Creates a state from an assembly. It reuses the parts of `before` that still fit: the cache and the upstreams'
/// health.
///
/// Errors: the system's resolver configuration or certificates cannot be used, or an upstream is this server itself.
pub fn make_state(
    assembly: Assembly,
    before: Option<&Running>,
    metrics: &MetricsRegistry,
) -> Result<State, String> {
    let Assembly { settings, mut policies, shadow, routes, local, .. } = assembly;
    let listen = before.map_or(&settings.server.listen, |before| &before.listen);
    let before_upstreams = before.map(|before| &*before.state.upstreams);
    let Servers { lists, system, encryption } =
        servers(&routes, &settings.upstream, listen, before_upstreams)?;
    let config = UpstreamConfig {
        encryption: encryption.map(Arc::new),
        max_qps: settings.upstream.max_qps,
        randomize_case: settings.upstream.randomize_case,
        system,
        ..UpstreamConfig::new(settings.upstream.deadline, settings.upstream.max_in_flight)
    };
    let (upstreams, numbers) =
        Upstreams::new(config, lists, before_upstreams).map_err(|error| error.to_string())?;
    policies.number_routes(numbers);
    if let Some(before) = before {
        policies.take_over(&before.state.policies);
    }
    let cache = match before.filter(|before| before.settings.cache == settings.cache) {
        Some(before) => Arc::clone(&before.state.cache),
        None => Arc::new(new_cache(&settings, before.map(|before| &*before.state.cache))),
    };
    let block_ttl = u32::try_from(settings.block.ttl.as_secs()).unwrap_or(u32::MAX);
    let before_state = before.map(|before| &*before.state);
    let cookies_before = before_state.and_then(|state| state.cookies.as_ref());
    let cookies = cookies(&settings.cookies, cookies_before).map_err(|error| error.to_string())?;
    let identity = Some(settings.server.identity.as_str()).filter(|identity| !identity.is_empty());
    let zones = Arc::new(zone_places(&policies, metrics));
    let state = State::new(policies, upstreams, cache, local, block_ttl);
    let denial = match settings.block.answer {
        BlockAnswer::Nxdomain => state.no_name.clone(),
        BlockAnswer::Nodata => state.no_data.clone(),
        BlockAnswer::Refused => Denial::refused(NOT_LISTED),
    };
    Ok(State {
        tunnel_guard: tunnel_guard(&settings.tunnel_guard, before),
        shadow: shadow.map(|policies| Arc::new(Shadow::new(policies))),
        denial,
        notice: settings
            .requests
            .enabled
            .then(|| Arc::new(RequestNotice::new(&settings.requests.url, &settings.requests.contact))),
        identity: identity.map(Into::into),
        udp_payload: settings.server.udp_payload,
        zones,
        limits: WaitLimits {
            in_flight: settings.server.in_flight,
            in_flight_per_client: settings.server.in_flight_per_client,
        },
        rate_limit: rate_limit(&settings.rate_limit, before),
        cookies,
        drops_others: settings.server.other_clients == OtherClients::Drop,
        ..state
    })
}

fn zone_places(policies: &Policies, metrics: &MetricsRegistry) -> ZoneIndexes {
    let of_group =
        |group: &Group| group.policy.sources().map(|(source, _)| metrics.zone_place(&source.zone)).collect();
    let uses = |wanted| {
        policies.groups().iter().flat_map(|group| group.policy.iter()).any(|rule| rule.cname() == wanted)
    };
    let asks = policies.groups().iter().any(|group| group.policy.asks_for_ancestors());
    let ancestors = if asks { metrics.zone_place("ancestors") } else { 0 };
    let followed = if uses(CnamePolicy::Follow) { metrics.zone_place("followed") } else { 0 };
    ZoneIndexes {
        sources: policies.groups().iter().map(of_group).collect(),
        temporary: metrics.zone_place("temporary"),
        followed,
        ancestors,
    }
}

/// The guard for `settings`; if they are unchanged, the previous one with its history.
fn tunnel_guard(
    settings: &config::TunnelGuardSettings,
    before: Option<&Running>,
) -> Option<Arc<TunnelGuard>> {
    if settings.mode == GuardMode::Off {
        return None;
    }
    let before = before.filter(|before| before.settings.tunnel_guard == *settings);
    let budget = TunnelBudget {
        names: settings.new_names,
        bytes: settings.name_bytes.as_u64(),
        window: settings.window,
    };
    let new = || Arc::new(TunnelGuard::new(budget, settings.mode == GuardMode::Enforce));
    Some(before.and_then(|before| before.state.tunnel_guard.clone()).unwrap_or_else(new))
}

/// The rate limit for `settings`; if they are unchanged, the previous one with its history.
fn rate_limit(settings: &config::RateLimitSettings, before: Option<&Running>) -> Option<Arc<RateLimit>> {
    let config::RateLimitSettings { responses_per_second, slip, ref exempt } = *settings;
    if responses_per_second == 0 {
        return None;
    }
    let before = before.filter(|before| before.settings.rate_limit == *settings);
    let new = || Arc::new(RateLimit::new(responses_per_second, slip, exempt.clone(), Instant::now()));
    Some(before.and_then(|before| before.state.rate_limit.clone()).unwrap_or_else(new))
}

/// The current state and its settings.
pub struct Running {
    /// The current state.
    pub state: Arc<State>,
    /// The settings it was created from.
    pub settings: Settings,
    /// The addresses bound at start; a reload does not change them.
    pub listen: Vec<SocketAddr>,
}

fn new_cache(settings: &Settings, before: Option<&Cache>) -> Cache {
    let lifetimes = Lifetimes {
        max: settings.cache.max_ttl,
        max_negative: settings.cache.max_negative_ttl,
        max_stale: if settings.cache.serve_stale { settings.cache.max_stale } else { Duration::ZERO },
        prefetch: settings.cache.prefetch,
    };
    Cache::new(settings.cache.max_bytes.as_u64(), lifetimes, before)
}

/// Checks that the upstreams can be used by `serve`; sends nothing.
///
/// Errors: the system's resolver configuration or certificates cannot be used, or an upstream is this server itself.
pub fn check_upstreams(assembly: &Assembly) -> Result<(), String> {
    let Assembly { settings, routes, .. } = assembly;
    servers(routes, &settings.upstream, &settings.server.listen, None).map(drop)
}

/// The servers that queries without a route go to.
///
/// Errors: the system's resolver configuration cannot be used.
pub fn default_servers(assembly: &Assembly) -> Result<Vec<UpstreamAddress>, String> {
    let system = system_servers(&assembly.routes, None)?;
    Ok(resolve_servers(&assembly.settings.upstream.servers, &system))
}

/// The servers of all routes, resolved and checked.
struct Servers {
    lists: Vec<Vec<UpstreamAddress>>,
    /// What [`UpstreamAddress::System`] stands for.
    system: Vec<UpstreamAddress>,
    /// For encrypted ones.
    encryption: Option<Encryption>,
}

fn servers(
    routes: &ServerLists,
    settings: &config::UpstreamSettings,
    listen: &[SocketAddr],
    before: Option<&Upstreams>,
) -> Result<Servers, String> {
    let system = system_servers(routes, before)?;
    let mut lists = Vec::new();
    for (_, servers) in routes.iter() {
        let servers = resolve_servers(servers, &system);
        loops::refuse(&servers, listen)?;
        lists.push(servers);
    }
    let config::UpstreamSettings { roots, bootstrap, .. } = settings;
    let resolvers: Vec<_> = bootstrap.iter().copied().map(UpstreamAddress::Udp).collect();
    loops::refuse(&resolvers, listen)?;
    let encryption = match lists.iter().flatten().any(UpstreamAddress::is_encrypted) {
        true => Some(Encryption::new(roots, bootstrap.clone())?),
        false => None,
    };
    Ok(Servers { lists, system, encryption })
}

/// The servers that [`UpstreamAddress::System`] stands for, if one of `lists` has it.
///
/// If the system's configuration cannot be read again, the previous servers stay: a tool that rewrites it may leave it
/// empty for a moment, and the sandbox may not reach a new location. Without previous servers this is an error.
fn system_servers(lists: &ServerLists, before: Option<&Upstreams>) -> Result<Vec<UpstreamAddress>, String> {
    if !lists.iter().any(|(_, servers)| servers.contains(&UpstreamAddress::System)) {
        return Ok(Vec::new());
    }
    system::servers().or_else(|error| match before.map(|before| &before.config().system[..]) {
        Some(servers @ [_, ..]) => {
            log!(
                SystemResolverUnreadable,
                "cannot read the system's resolver configuration; the upstream `system` keeps its previous servers: \
                 {error}"
            );
            Ok(servers.to_vec())
        }
        _ => Err(format!(
            "cannot use the upstream `system`: {error}\n  help: set `upstream.servers`, or pass `--upstream ADDRESS`"
        )),
    })
}

/// Replaces [`UpstreamAddress::System`] by the system's servers.
fn resolve_servers(servers: &[UpstreamAddress], system: &[UpstreamAddress]) -> Vec<UpstreamAddress> {
    let mut resolved: Vec<UpstreamAddress> = Vec::new();
    for server in servers {
        let stands_for = match server {
            UpstreamAddress::System => system,
            other => std::slice::from_ref(other),
        };
        for server in stands_for {
            if !resolved.contains(server) {
                resolved.push(server.clone());
            }
        }
    }
    resolved
}
