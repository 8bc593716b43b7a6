//! [`Reloader`]: swaps what queries are judged by, under traffic, when told to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::assemble::{Assembly, Sources, assemble};
use crate::config::{Diagnostic, Report, Settings};
use crate::gate::State;
use crate::notify;
use crate::orders::Order;
use crate::own_zones::OwnZones;
use crate::policy::Mode;
use crate::policy::followed::Share;
use crate::policy::rule::Pattern;
use crate::policy::temporary::{Grant, Temporary};
use crate::registry::{Event, Registry};
use crate::sandbox::Sandbox;
use crate::state::{Running, make_state};
use crate::telemetry::catalogue::Catalogue;

/// Obeys orders, one after the other, on a thread of its own. Each swaps the state as one.
pub struct Reloader {
    /// What is read.
    pub sources: Sources,
    /// What is swapped.
    pub state: Arc<ArcSwap<State>>,
    /// The settings of the last reload.
    pub settings: Settings,
    /// The settings at the start: some of them hold until the end.
    pub started: Settings,
    /// Where queries are taken until the end, whatever settings say.
    pub listen: Vec<SocketAddr>,
    /// The allowlist files of the operator's own that are in force.
    pub own_zones: OwnZones,
    /// Where results are counted.
    pub catalogue: Arc<Catalogue>,
    /// Where temporary allowances are kept over restarts.
    pub registry: Registry,
    /// States that some thread may still look at. The last to let go of one frees it, which takes long for a large policy:
    /// that must be us.
    pub retired: Vec<Arc<State>>,
    /// What the process may no longer do.
    pub sandbox: Sandbox,
    /// When it was last said that names are not followed because a share is full.
    pub warned_of_full_share: Option<Instant>,
}

/// How often states that are no more in force are looked after, and shares of followed names.
const RETIRE: Duration = Duration::from_secs(1);

/// How often at most it is said that a share of followed names is full.
const WARN: Duration = Duration::from_secs(60);

/// The lowest priority there is: compiling a large policy must not take time from answering.
const NICE: i32 = 19;

impl Reloader {
    /// Starts the thread; it ends when nobody can give orders any more.
    pub fn start(mut self, orders: Receiver<Order>) -> std::io::Result<()> {
        std::thread::Builder::new().name("reload".to_owned()).spawn(move || {
            while let Some(order) = self.wait(&orders) {
                // One who no longer waits for the result has no more use for it.
                match order {
                    Order::Reload(pending) => {
                        pending.store(false, std::sync::atomic::Ordering::Release);
                        self.reload();
                    }
                    Order::Allow(grant, result) => drop(result.send(self.allow(&grant))),
                    Order::Revoke(pattern, result) => drop(result.send(self.revoke(&pattern))),
                }
            }
        })?;
        Ok(())
    }

    /// Waits for an order, and meanwhile ends what is at its end; none when there will be no more.
    fn wait(&mut self, orders: &Receiver<Order>) -> Option<Order> {
        loop {
            self.expire();
            self.warn_of_full_share();
            // Nobody can take a state up again that we alone have.
            self.retired.retain(|state| Arc::strong_count(state) > 1);
            let state = self.state.load();
            let follows = state.policies.groups().iter().any(|group| group.policy.follows());
            let retire = (follows || !self.retired.is_empty()).then_some(RETIRE);
            let next_end = state.policies.temporary().next_end();
            drop(state);
            let ends_in = next_end.map(|end| end.saturating_duration_since(Instant::now()));
            let waited = match retire.into_iter().chain(ends_in).min() {
                None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(patience) => orders.recv_timeout(patience),
            };
            match waited {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Reloads once. On any error the state stays as it is, and the error is logged with its place.
    pub fn reload(&mut self) {
        notify::reloading();
        match self.try_reload() {
            Ok(summary) => {
                self.catalogue.reloaded(true);
                tracing::info!("reloaded: {summary}");
                notify::ready(&summary);
            }
            Err(error) => {
                self.catalogue.reloaded(false);
                let remedy =
                    self.sandbox.remedy(&error).map(|remedy| format!("\n{remedy}")).unwrap_or_default();
                tracing::error!("reload failed, the policy stays as it was\n{error}{remedy}");
                notify::ready("the last reload failed, the policy stays as it was; the log says why");
            }
        }
    }

    fn try_reload(&mut self) -> Result<String, String> {
        let before = Running {
            state: self.state.load_full(),
            settings: self.settings.clone(),
            listen: self.listen.clone(),
        };
        let generation = before.state.policies.generation() + 1;
        for settings in self.sources.config.iter().chain(&self.settings.policy.shadow) {
            // Reading a pipe would wait for who writes into it, for good.
            if settings.metadata().is_ok_and(|found| !found.is_file()) {
                let error = Diagnostic::error(settings.display().to_string(), "is no regular file");
                return Err(Report::from(error).to_string());
            }
        }
        let assembly = at_low_priority(|| assemble(&self.sources, generation))
            .map_err(|error| format!("there is no thread for it: {error}\n  help: let the process have more threads (TasksMax=, ulimit -u)"))?
            .map_err(|faults| faults.to_string())?;
        // Settings are so for a moment while they are rewritten; all defaults would allow the shipped lists.
        if assembly.is_unset && assembly.settings != self.settings {
            let error = Diagnostic::error(&assembly.origin, "nothing is set in the file any more");
            let error = error.with_help("where all defaults are meant, restart the gate".to_owned());
            return Err(Report::from(error).to_string());
        }
        if let Some(zone) = self.own_zones.replaced(&assembly) {
            return Err(Report::from(zone).to_string());
        }
        warn_of(&assembly);
        let settings = assembly.settings.clone();
        let (summary, own_zones) = (summary(&assembly), OwnZones::of(&assembly));
        let state = make_state(assembly, Some(&before), &self.catalogue)?;
        warn_of_what_needs_a_restart(&self.started, &settings);
        self.settings = settings;
        self.own_zones = own_zones;
        self.swap(state);
        Ok(summary)
    }

    /// Allows names for a time; an error says why that cannot be.
    fn allow(&mut self, grant: &Grant) -> Result<(), String> {
        let (now, time) = (Instant::now(), SystemTime::now());
        let state = self.state.load_full();
        let Some(temporary) = state.policies.temporary().with(grant.clone(), now, time) else {
            let most = Temporary::MAX;
            return Err(format!("there are {most} temporary allowances, and no more can be; revoke one"));
        };
        // The record comes first: whenever the process ends, nothing is allowed that it does not tell of.
        self.registry.record(Event::Allowed, grant)?;
        if let Err(error) = self.registry.save(&temporary) {
            self.registry.note(Event::Failed, grant);
            return Err(error);
        }
        self.swap(State { policies: state.policies.with_temporary(temporary), ..(*state).clone() });
        Ok(())
    }

    /// Takes an allowance back; false where there is none for `pattern`.
    fn revoke(&mut self, pattern: &Pattern) -> Result<bool, String> {
        let state = self.state.load_full();
        let Some(temporary) = state.policies.temporary().without(pattern) else { return Ok(false) };
        let revoked = state.policies.temporary().iter().find(|grant| grant.pattern == *pattern);
        if let Some(grant) = revoked {
            self.registry.note(Event::Revoked, grant);
        }
        // What is taken back is taken back now, whether or not that can be written down.
        let saved = self.registry.save(&temporary);
        self.swap(State { policies: state.policies.with_temporary(temporary), ..(*state).clone() });
        let warn =
            |error| format!("it is taken back now, and will be allowed again after a restart: {error}");
        saved.map(|()| true).map_err(warn)
    }

    /// Ends allowances whose time is over. Queries are judged by the time itself: this tidies up.
    fn expire(&mut self) {
        let state = self.state.load_full();
        let Some((temporary, ended)) = state.policies.temporary().expired(Instant::now()) else { return };
        for grant in &ended {
            self.registry.note(Event::Ended, grant);
        }
        if let Err(error) = self.registry.save(&temporary) {
            tracing::error!("{error}");
        }
        self.swap(State { policies: state.policies.with_temporary(temporary), ..(*state).clone() });
    }

    /// Logs whose share of followed names is full, where one has been since this was last said.
    fn warn_of_full_share(&mut self) {
        let state = self.state.load();
        let (policies, now) = (&state.policies, Instant::now());
        if self.warned_of_full_share.is_some_and(|warned| now.saturating_duration_since(warned) < WARN) {
            return;
        }
        let Some((group, share)) = policies.followed().take_full_share() else { return };
        let rule =
            |id| policies.policy(group).rule_by_id(id).map(|rule| rule.to_string()).unwrap_or_default();
        let holder = match share {
            Share::Rule(id) => format!("rule {}", rule(id)),
            Share::Client(client) => format!("client {client}"),
            Share::ClientByRule(client, id) => format!("client {client} by rule {}", rule(id)),
        };
        let refused = policies.followed().refused();
        tracing::warn!(
            "cname = \"follow\": {holder} has its share of followed names; names that its answers lead to are blocked ({refused} so far)"
        );
        self.warned_of_full_share = Some(now);
    }

    /// Puts `state` in force, and drops kept answers that nobody may have any more.
    fn swap(&mut self, state: State) {
        let state = Arc::new(state);
        self.retired.push(self.state.swap(Arc::clone(&state)));
        let now = Instant::now();
        state.cache.retain(|name, route| state.policies.may_keep(name, route, now));
    }
}

/// Does `work` on a thread of the lowest priority. What takes a lock is no such work: packet threads that wait for the lock would
/// then wait for one that has its turn after everyone else.
fn at_low_priority<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let work = || {
        // Only how fast others are meanwhile is lost where this fails.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        work()
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name("compile".to_owned()).spawn_scoped(scope, work)?;
        Ok(worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// One line for people: rules, zones, mode and hash.
pub fn summary(assembly: &Assembly) -> String {
    let policy = assembly.policy();
    let zones: Vec<String> =
        policy.sources().map(|(source, rules)| format!("{} ({rules})", source.zone)).collect();
    let mode = match policy.mode() {
        Mode::Enforce => "enforced",
        Mode::Observe => "OBSERVED ONLY: every name is forwarded",
    };
    let groups = match assembly.policies.groups() {
        [_] => String::new(),
        groups => format!("; client groups: {}", groups.len() - 1),
    };
    let rules = policy.rules();
    format!("{rules} rules from {}; {mode}{groups}; policy {}", zones.join(", "), policy.hash())
}

/// Logs what is probably not meant.
pub fn warn_of(assembly: &Assembly) {
    if !assembly.warnings.is_empty() {
        tracing::warn!("\n{}", assembly.warnings.render(false));
    }
    for parameter in &assembly.unused_parameters {
        tracing::warn!("the parameter `{parameter}` is used by no zone that is loaded");
    }
    let groups = assembly.policies.groups();
    for group in
        groups.iter().filter(|group| group.policy.rules() == 0 && group.policy.mode() == Mode::Enforce)
    {
        match groups.len() {
            1 => tracing::warn!("no rule is in force: every name is blocked"),
            _ => {
                tracing::warn!(
                    "no rule is in force for client group `{}`: every name is blocked",
                    group.name
                );
            }
        }
    }
}

fn warn_of_what_needs_a_restart(before: &Settings, after: &Settings) {
    let server = |settings: &Settings| {
        let server = &settings.server;
        let connections = (server.tcp_connections, server.tcp_connections_per_client);
        let tcp = (connections, server.tcp_queries_per_connection, server.tcp_idle_timeout);
        let listen = (server.listen.clone(), server.reuse_port);
        (listen, server.workers, tcp, server.state_directory.clone())
    };
    let changed = [
        ("[server] listen, reuse_port, workers, tcp_* and state_directory", server(before) != server(after)),
        ("[admin]", before.admin != after.admin),
        ("[log]", before.log != after.log),
        ("[dnstap]", before.dnstap != after.dnstap),
        ("[prove]", before.prove != after.prove),
        ("[sandbox]", before.sandbox != after.sandbox),
    ];
    for (what, _) in changed.iter().filter(|(_, changed)| *changed) {
        tracing::warn!("{what} changed and will take effect at the next start");
    }
}
