//! [`Reloader`]: swaps what queries are judged by, under traffic, when told to.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::assemble::{Assembly, AssemblyFaults, Sources, assemble};
use crate::config::Settings;
use crate::control::{CommandQueue, ControlCommand};
use crate::diagnostics::{Diagnostic, Report};
use crate::engine::State;
use crate::observe::catalogue::Catalogue;
use crate::policy::Mode;
use crate::policy::followed::Share;
use crate::policy::rule::Pattern;
use crate::policy::temporary::Grant;
use crate::service::cookie_secrets::unix_seconds;
use crate::service::notify;
use crate::service::own_zones::OwnZones;
use crate::service::registry::{Event, Registry};
use crate::service::sandbox::Sandbox;
use crate::service::state::{Running, make_state};
use crate::util::heartbeat::Heartbeat;

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
    /// What is being compiled.
    pub compiling: Option<Compiling>,
}

/// The thread that reads and compiles everything.
pub type Compiling = JoinHandle<Result<Assembly, AssemblyFaults>>;

/// Longest time between two looks at what ends: grants, states that are no more in force, and shares of followed names.
const IDLE: Duration = Duration::from_secs(1);

/// Time between two looks whether what is being compiled is there.
const COMPILED: Duration = Duration::from_millis(5);

/// How often at most it is said that a share of followed names is full.
const WARN: Duration = Duration::from_secs(60);

/// The lowest priority there is: compiling a large policy must not take time from answering.
const NICE: i32 = 19;

impl Reloader {
    /// Starts the thread; it ends when nobody can give orders any more. `heartbeat` shows that it works.
    pub fn start(mut self, orders: CommandQueue, heartbeat: Heartbeat) -> std::io::Result<()> {
        let catalogue = Arc::clone(&self.catalogue);
        let work = move || {
            let step = || {
                heartbeat.beat();
                self.step(&orders)
            };
            let complain = || {
                catalogue.reloaded(false);
                tracing::error!(
                    "a change failed by a fault in this program, and is not in force; please report it"
                );
                std::thread::sleep(IDLE);
            };
            go_on(step, complain);
            heartbeat.rest();
        };
        std::thread::Builder::new().name("reload".to_owned()).spawn(work)?;
        Ok(())
    }

    /// Ends what is at its end, goes on with a reload, and obeys the next order; false where there will be no more.
    fn step(&mut self, orders: &CommandQueue) -> bool {
        self.expire();
        self.set_cookie_clock();
        self.warn_of_full_share();
        // Nobody can take a state up again that we alone have.
        self.retired.retain(|state| Arc::strong_count(state) > 1);
        if let Some(compiling) = self.compiling.take_if(|compiling| compiling.is_finished()) {
            self.finish_reload(compiling);
        }
        if self.compiling.is_none() && orders.take_reload() {
            self.begin_reload();
        }
        // One who no longer waits for the result has no more use for it.
        match orders.next(self.patience()) {
            Ok(ControlCommand::Allow(grant, result)) => drop(result.send(self.allow(&grant))),
            Ok(ControlCommand::Revoke(pattern, result)) => drop(result.send(self.revoke(&pattern))),
            Ok(ControlCommand::Wake) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// How long to wait for an order.
    fn patience(&self) -> Duration {
        if self.compiling.is_some() {
            return COMPILED;
        }
        let next_end = self.state.load().policies.temporary().next_end();
        next_end.map_or(IDLE, |end| end.saturating_duration_since(Instant::now()).min(IDLE))
    }

    /// Begins to read and compile everything anew, on a thread of its own: who takes an allowance back does not wait for it.
    fn begin_reload(&mut self) {
        notify::reloading();
        let compiling = self.readable_settings().and_then(|()| {
            let (sources, generation) = (self.sources.clone(), self.state.load().policies.generation() + 1);
            at_low_priority(move || assemble(&sources, generation)).map_err(|error| {
                format!("there is no thread for it: {error}\n  help: let the process have more threads (TasksMax=, ulimit -u)")
            })
        });
        match compiling {
            Ok(compiling) => self.compiling = Some(compiling),
            Err(error) => self.note_reload(Err(error)),
        }
    }

    /// Puts in force what was compiled. On any error the state stays as it is, and the error is logged with its place.
    fn finish_reload(&mut self, compiling: Compiling) {
        let outcome = match compiling.join() {
            Ok(assembled) => assembled
                .map_err(|faults| faults.to_string())
                .and_then(|assembly| self.put_in_force(assembly)),
            Err(_) => Err("reading it failed by a fault in this program; please report it".to_owned()),
        };
        self.note_reload(outcome);
    }

    fn note_reload(&self, outcome: Result<String, String>) {
        match outcome {
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

    /// Errors: reading the settings would wait for who writes into a pipe, for good.
    fn readable_settings(&self) -> Result<(), String> {
        for settings in self.sources.config.iter().chain(&self.settings.policy.shadow) {
            if settings.metadata().is_ok_and(|found| !found.is_file()) {
                let error = Diagnostic::error(settings.display().to_string(), "is no regular file");
                return Err(Report::from(error).to_string());
            }
        }
        Ok(())
    }

    fn put_in_force(&mut self, assembly: Assembly) -> Result<String, String> {
        let before = Running {
            state: self.state.load_full(),
            settings: self.settings.clone(),
            listen: self.listen.clone(),
        };
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
        let temporary = state.policies.temporary().with(grant.clone(), now, time);
        let temporary = temporary.map_err(|refused| refused.to_string())?;
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

    /// Ends allowances whose time is over, by either clock: the one that nobody sets stands still while a machine sleeps. Queries are
    /// judged by that one.
    fn expire(&mut self) {
        let state = self.state.load_full();
        let expired = state.policies.temporary().expired(Instant::now(), SystemTime::now());
        let Some((temporary, ended)) = expired else { return };
        for grant in &ended {
            self.registry.note(Event::Ended, grant);
        }
        if let Err(error) = self.registry.save(&temporary) {
            tracing::error!("{error}");
        }
        self.swap(State { policies: state.policies.with_temporary(temporary), ..(*state).clone() });
    }

    /// Has cookies follow the time of day, which may have been set, or have passed while the machine slept.
    fn set_cookie_clock(&self) {
        if let Some(cookies) = &self.state.load().cookies {
            cookies.set_clock(Instant::now(), unix_seconds());
        }
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
fn at_low_priority<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name("compile".to_owned()).spawn(|| {
        // Only how fast others are meanwhile is lost where this fails.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        work()
    })
}

/// Takes `step` after `step` until one says false. After one that panics it does `complain`, and goes on.
fn go_on(mut step: impl FnMut() -> bool, mut complain: impl FnMut()) {
    loop {
        match catch_unwind(AssertUnwindSafe(&mut step)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => complain(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_panics_is_complained_of_and_is_not_the_last() {
        let (mut steps, mut complaints) = (0, 0);
        let step = || {
            steps += 1;
            assert!(steps != 2, "the second step panics");
            steps < 4
        };
        go_on(step, || complaints += 1);
        assert_eq!((steps, complaints), (4, 1));
    }
}
