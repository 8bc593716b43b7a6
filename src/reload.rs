//! Making the [`State`] queries are judged by, at the start and again when told to.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::assemble::{Assembly, Sources, assemble};
use crate::cache::{Cache, Lifetimes};
use crate::config::{BlockAnswer, Settings};
use crate::gate::State;
use crate::policy::clients::Clients;
use crate::policy::rule::Action;
use crate::policy::verdict::NOT_LISTED;
use crate::policy::{Mode, Policy};
use crate::telemetry::catalogue::Catalogue;
use crate::upstream::address::UpstreamAddress;
use crate::upstream::{Upstream, UpstreamConfig, loops, system};
use crate::wire::code::Rcode;
use crate::wire::denial::Denial;
use crate::wire::name::Name;

/// Makes a state of what was assembled; what `before` has and still fits is kept: the cache, and upstreams' health.
///
/// Errors: the system's resolver configuration cannot be used, or an upstream is this server itself.
pub fn make_state(
    assembly: Assembly,
    before: Option<&Running>,
    catalogue: &Catalogue,
) -> Result<State, String> {
    let Assembly { settings, policy, local, .. } = assembly;
    let servers = resolve_servers(&settings.upstream.servers)?;
    loops::refuse(&servers, &settings.server.listen)?;
    let config = UpstreamConfig {
        servers,
        deadline: settings.upstream.deadline,
        max_in_flight: settings.upstream.max_in_flight,
        max_qps: settings.upstream.max_qps,
    };
    // Answers learnt from one upstream are no answers of another: their views of private names differ.
    let keeps_cache = |before: &&Running| {
        before.settings.cache == settings.cache && before.state.upstream.config().servers == config.servers
    };
    let cache = match before.filter(keeps_cache) {
        Some(before) => Arc::clone(&before.state.cache),
        None => Arc::new(new_cache(&settings, before.map(|before| &*before.state.cache))),
    };
    let upstream = Upstream::new(config, before.map(|before| &*before.state.upstream));
    let block_ttl = u32::try_from(settings.block.ttl.as_secs()).unwrap_or(u32::MAX);
    let denial = match settings.block.answer {
        BlockAnswer::Nxdomain => Denial::negative(Rcode::NXDOMAIN, block_ttl, policy.serial(), NOT_LISTED),
        BlockAnswer::Nodata => Denial::negative(Rcode::NOERROR, block_ttl, policy.serial(), NOT_LISTED),
        BlockAnswer::Refused => Denial::refused(NOT_LISTED),
    };
    let identity = Some(settings.server.identity.as_str()).filter(|identity| !identity.is_empty());
    Ok(State {
        zones: policy.sources().map(|(source, _)| catalogue.zone_place(&source.zone)).collect(),
        policy,
        clients: Clients::new(&settings.server.allow_clients),
        denial,
        identity: identity.map(Into::into),
        udp_payload: settings.server.udp_payload,
        cache,
        local: Arc::new(local),
        upstream: Arc::new(upstream),
    })
}

/// The state in force and the settings it was made of.
pub struct Running {
    /// What queries are judged by.
    pub state: Arc<State>,
    /// What it was made of.
    pub settings: Settings,
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

/// Puts the system's own servers in the place of [`UpstreamAddress::System`].
fn resolve_servers(servers: &[UpstreamAddress]) -> Result<Vec<UpstreamAddress>, String> {
    let mut resolved = Vec::new();
    for server in servers {
        match server {
            UpstreamAddress::System => resolved.extend(system::servers().map_err(|error| {
                format!(
                    "the upstream `system` cannot be used: {error}\n  help: name the upstream with \
                     `--upstream ADDRESS` or `servers` in [upstream]"
                )
            })?),
            other => resolved.push(*other),
        }
    }
    let mut unique: Vec<UpstreamAddress> = Vec::new();
    for server in resolved {
        if !unique.contains(&server) {
            unique.push(server);
        }
    }
    Ok(unique)
}

/// Reads everything again when asked, and swaps it in as one.
pub struct Reloader {
    /// What is read.
    pub sources: Sources,
    /// What is swapped.
    pub state: Arc<ArcSwap<State>>,
    /// The settings of the last reload.
    pub settings: Settings,
    /// The settings at the start: some of them hold until the end.
    pub started: Settings,
    /// Where results are counted.
    pub catalogue: Arc<Catalogue>,
    /// States that some thread may still look at. The last to let go of one frees it, which takes long for a large policy:
    /// that must be us.
    pub retired: Vec<Arc<State>>,
}

/// How often states that are no more in force are looked after.
const RETIRE: Duration = Duration::from_secs(1);

/// The lowest priority there is: compiling a large policy must not take time from answering.
const NICE: i32 = 19;

impl Reloader {
    /// Starts a thread that reloads once for each message.
    pub fn start(mut self) -> std::io::Result<SyncSender<()>> {
        let (reloads, due) = sync_channel(1);
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            // Only how fast others are meanwhile is lost where this fails.
            #[cfg(target_os = "linux")]
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
            while self.wait(&due) {
                self.reload();
            }
        })?;
        Ok(reloads)
    }

    /// Waits until a reload is due; false when there will be none.
    fn wait(&mut self, due: &Receiver<()>) -> bool {
        loop {
            // Nobody can take a state up again that we alone have.
            self.retired.retain(|state| Arc::strong_count(state) > 1);
            let waited = match self.retired.is_empty() {
                true => due.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => due.recv_timeout(RETIRE),
            };
            match waited {
                Ok(()) => return true,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// Reloads once. On any error the state stays as it is, and the error is logged with its place.
    pub fn reload(&mut self) {
        match self.try_reload() {
            Ok(summary) => {
                self.catalogue.reloaded(true);
                tracing::info!("reloaded: {summary}");
            }
            Err(error) => {
                self.catalogue.reloaded(false);
                tracing::error!("reload failed, the policy stays as it was\n{error}");
            }
        }
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let before = Running { state: self.state.load_full(), settings: self.settings.clone() };
        let assembly = assemble(&self.sources, before.state.policy.generation() + 1)
            .map_err(|faults| faults.to_string())?;
        warn_of(&assembly);
        let settings = assembly.settings.clone();
        let summary = summary(&assembly);
        let state = make_state(assembly, Some(&before), &self.catalogue)?;
        warn_of_what_needs_a_restart(&self.started, &settings);
        let state = Arc::new(state);
        self.state.store(Arc::clone(&state));
        self.settings = settings;
        state.cache.retain(|name| may_be_kept(&state.policy, name));
        self.retired.push(before.state);
        Ok(summary)
    }
}

/// True where the policy lets `name` out, so that its answers may stay in the cache.
fn may_be_kept(policy: &Policy, name: &Name) -> bool {
    policy.mode() == Mode::Observe || policy.rule_for(name).is_some_and(|rule| rule.action() == Action::Allow)
}

/// One line for people: rules, zones, mode and hash.
pub fn summary(assembly: &Assembly) -> String {
    let policy = &assembly.policy;
    let zones: Vec<String> =
        policy.sources().map(|(source, rules)| format!("{} ({rules})", source.zone)).collect();
    let mode = match policy.mode() {
        Mode::Enforce => "enforced",
        Mode::Observe => "OBSERVED ONLY: every name is forwarded",
    };
    let rules = policy.rules();
    format!("{rules} rules from {}; {mode}; policy {}", zones.join(", "), policy.hash())
}

/// Logs what is probably not meant.
pub fn warn_of(assembly: &Assembly) {
    if !assembly.warnings.is_empty() {
        tracing::warn!("\n{}", assembly.warnings.render(false));
    }
    for parameter in &assembly.unused_parameters {
        tracing::warn!("the parameter `{parameter}` is used by no zone that is loaded");
    }
    if assembly.policy.rules() == 0 && assembly.policy.mode() == Mode::Enforce {
        tracing::warn!("no rule is in force: every name is blocked");
    }
}

fn warn_of_what_needs_a_restart(before: &Settings, after: &Settings) {
    let server = |settings: &Settings| {
        let server = &settings.server;
        let tcp = (server.tcp_connections, server.tcp_queries_per_connection, server.tcp_idle_timeout);
        (server.listen.clone(), server.workers, tcp)
    };
    let changed = [
        ("[server] listen, workers and tcp_*", server(before) != server(after)),
        ("[admin]", before.admin != after.admin),
        ("[log]", before.log != after.log),
        ("[dnstap]", before.dnstap != after.dnstap),
    ];
    for (what, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!("{what} changed and will take effect at the next start");
    }
}
