//! [`Reloader`]: executes commands: reloads, grants and revocations. Each swaps the state while queries are answered.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use crate::assemble::{Assembly, Sources};
use crate::config::Settings;
use crate::control::requests::{GrantRequest, RequestDecision, RequestError, RequestId, RequestOutcome};
use crate::control::{CommandError, CommandQueue, ControlCommand, ReloadOutcome, ReloadWaiters};
use crate::diagnostics::{Diagnostic, Report, Severity};
use crate::engine::State;
use crate::observe::metrics_registry::MetricsRegistry;
use crate::policy::Mode;
use crate::policy::followed::Share;
use crate::policy::rule::Pattern;
use crate::policy::temporary::{Grant, GrantScope, Temporary};
use crate::service::cookie_secrets::unix_seconds;
use crate::service::grant_store::{Event, GrantStore};
use crate::service::own_allowlists::OwnAllowlists;
use crate::service::request_store::{RequestEvent, RequestStore};
use crate::service::rule_use_store::RuleUseStore;
use crate::service::sandbox::Sandbox;
use crate::service::state::{Running, make_state};
use crate::service::watch::FileWatch;
use crate::service::{StartError, notify};
use crate::util::heartbeat::Heartbeat;
use crate::util::log_event::log;

/// Executes commands one after the other, on its own thread. Each swaps the whole state.
pub struct Reloader {
    /// The files to read.
    pub sources: Sources,
    /// The state to swap.
    pub state: Arc<ArcSwap<State>>,
    /// The settings of the last reload.
    pub settings: Settings,
    /// The settings at start: some of them apply until the process ends.
    pub started: Settings,
    /// The addresses bound at start; a reload does not change them.
    pub listen: Vec<SocketAddr>,
    /// The operator's own allowlist files that are active.
    pub own_zones: OwnAllowlists,
    /// Counts reloads.
    pub metrics: Arc<MetricsRegistry>,
    /// Saves grants across restarts.
    pub grants: GrantStore,
    /// The requests for grants, and their file.
    pub requests: RequestStore,
    /// Collects the uses of rules.
    pub rule_uses: Arc<RuleUseStore>,
    /// Old states that some thread may still use. The last owner frees a state, which is slow for a large policy, so
    /// this thread must be the last owner.
    pub retired: Vec<Arc<State>>,
    /// The sandbox of the process.
    pub sandbox: Sandbox,
    /// When a full share of followed names was last logged.
    pub warned_of_full_share: Option<Instant>,
    /// The reload in progress.
    pub compiling: Option<Compiling>,
    /// The files that the last reload read.
    pub watch: FileWatch,
}

/// A reload in progress.
pub struct Compiling {
    /// The thread that reads and compiles everything.
    thread: JoinHandle<(FileWatch, Result<Assembly, Report>)>,
    /// Those who wait for its end.
    waiters: ReloadWaiters,
}

/// Longest wait for a command. Between commands the thread expires grants, frees old states and logs full shares of
/// followed names.
const IDLE: Duration = Duration::from_secs(1);

/// Interval for checking whether compilation has finished.
const COMPILED: Duration = Duration::from_millis(5);

/// Shortest interval between two warnings about a full share of followed names.
const WARN: Duration = Duration::from_secs(60);

/// The lowest priority: compiling a large policy must not take CPU time from answering.
const NICE: i32 = 19;

impl Reloader {
    /// Starts the thread; it ends when all control handles are dropped. `heartbeat` shows that it makes progress.
    pub fn start(mut self, commands: CommandQueue, heartbeat: Heartbeat) -> std::io::Result<()> {
        let metrics = Arc::clone(&self.metrics);
        let work = move || {
            let step = || {
                heartbeat.beat();
                self.step(&commands)
            };
            let complain = || {
                metrics.reload_failed("internal error in the reload thread; see the log");
                log!(
                    InternalError,
                    "internal error in the reload thread: the last change was possibly not applied; please report this"
                );
                std::thread::sleep(IDLE);
            };
            go_on(step, complain);
            heartbeat.rest();
        };
        std::thread::Builder::new().name("reload".to_owned()).spawn(work)?;
        Ok(())
    }

    /// Expires grants, continues a reload, and executes the next command; false if there will be no more.
    fn step(&mut self, commands: &CommandQueue) -> bool {
        self.expire();
        self.age_requests();
        self.end_rules();
        self.set_cookie_clock();
        self.warn_of_full_share();
        self.rule_uses.tend(&self.state.load());
        // Free states that no other thread uses.
        self.retired.retain(|state| {
            let is_used = Arc::strong_count(state) > 1;
            if !is_used {
                self.rule_uses.collect(state);
            }
            is_used
        });
        if let Some(compiling) = self.compiling.take_if(|compiling| compiling.thread.is_finished()) {
            self.finish_reload(compiling);
        }
        if self.compiling.is_none()
            && let Some(waiters) = commands.take_reload().or_else(|| self.files_have_changed())
        {
            self.begin_reload(waiters);
        }
        // If the caller no longer waits, the result is discarded.
        match commands.next(self.patience()) {
            Ok(ControlCommand::Allow(grant, result)) => drop(result.send(self.allow(&grant))),
            Ok(ControlCommand::Revoke(pattern, scope, result)) => {
                drop(result.send(self.revoke(&pattern, &scope)));
            }
            Ok(ControlCommand::File(request, result)) => drop(result.send(self.file(&request))),
            Ok(ControlCommand::Decide(id, decision, result)) => {
                drop(result.send(self.decide(id, decision)));
            }
            Ok(ControlCommand::Wake) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// How long to wait for a command.
    fn patience(&self) -> Duration {
        if self.compiling.is_some() {
            return COMPILED;
        }
        let next_end = self.state.load().policies.temporary().next_end();
        next_end.map_or(IDLE, |end| end.saturating_duration_since(Instant::now()).min(IDLE))
    }

    /// Nobody waits for a reload that begins because files have changed.
    fn files_have_changed(&mut self) -> Option<ReloadWaiters> {
        let watch = Some(&mut self.watch).filter(|_| self.settings.server.watch)?;
        let changed: Vec<String> =
            watch.changed(Instant::now()).iter().map(|file| file.display().to_string()).collect();
        if changed.is_empty() {
            return None;
        }
        log!(FilesChanged, "reloading: changed: {}", changed.join(", "));
        Some(ReloadWaiters::new())
    }

    /// Starts to read and compile everything, on a separate thread, so that a revocation does not wait for it.
    fn begin_reload(&mut self, waiters: ReloadWaiters) {
        notify::reloading();
        let thread = self.readable_settings().and_then(|()| {
            let (sources, generation) = (self.sources.clone(), self.state.load().policies.generation() + 1);
            let before = self.watch.clone();
            at_low_priority(move || FileWatch::assemble(&sources, generation, Some(&before))).map_err(|error| {
                format!(
                    "cannot start the compile thread: {error}\n  help: raise the thread limit (TasksMax=, ulimit -u)"
                )
                .into()
            })
        });
        match thread {
            Ok(thread) => self.compiling = Some(Compiling { thread, waiters }),
            Err(error) => self.note_reload(Err(error), waiters),
        }
    }

    /// Activates the compiled state. On any error the old state stays, and the error is logged with its location.
    fn finish_reload(&mut self, compiling: Compiling) {
        let Compiling { thread, waiters } = compiling;
        let outcome = match thread.join() {
            Ok((watch, assembled)) => {
                self.watch = watch;
                assembled.map_err(StartError::from).and_then(|assembly| {
                    self.watch.forget_unused(&assembly);
                    self.put_in_force(assembly)
                })
            }
            Err(_) => Err("internal error while loading settings and allowlists; please report this".into()),
        };
        self.note_reload(outcome, waiters);
    }

    fn note_reload(&self, outcome: Result<String, StartError>, waiters: ReloadWaiters) {
        let succeeded = outcome.is_ok();
        let message = match outcome {
            Ok(summary) => {
                self.metrics.reloaded();
                log!(Reloaded, "reloaded: {summary}");
                notify::ready(&summary);
                summary
            }
            Err(error) => {
                let text = error.to_string();
                self.metrics.reload_failed(&text);
                let faults = match error.downcast_ref::<Report>() {
                    Some(report) => report.log_lines(Severity::Error),
                    None => vec![text.clone()],
                };
                let remedy = self.sandbox.remedy(&text).unwrap_or_default();
                log!(ReloadFailed, "reload failed; the previous policy stays active{remedy}");
                for fault in faults {
                    log!(ReloadFault, "{fault}");
                }
                notify::ready("the last reload failed; the previous policy stays active; see the log");
                text + &remedy
            }
        };
        let policy = self.state.load().policies.default().hash();
        let outcome = ReloadOutcome { succeeded, message, policy };
        for waiter in waiters {
            // A caller that gave up is not told.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// Fails if a settings file is not a regular file: reading a pipe could block forever.
    fn readable_settings(&self) -> Result<(), StartError> {
        for settings in self.sources.config.iter().chain(&self.settings.policy.shadow) {
            if settings.metadata().is_ok_and(|found| !found.is_file()) {
                let error = Diagnostic::error(settings.display().to_string(), "not a regular file");
                return Err(Report::from(error).into());
            }
        }
        Ok(())
    }

    fn put_in_force(&mut self, mut assembly: Assembly) -> Result<String, StartError> {
        let before = Running {
            state: self.state.load_full(),
            settings: self.settings.clone(),
            listen: self.listen.clone(),
        };
        // A settings file is empty for a moment while it is rewritten; the defaults would allow the shipped lists.
        if assembly.is_unset && assembly.settings != self.settings {
            let error = Diagnostic::error(&assembly.origin, "the settings file sets nothing");
            let error = error.with_help("to run with the defaults, restart namegate".to_owned());
            return Err(Report::from(error).into());
        }
        if let Some(zone) = self.own_zones.replaced(&assembly) {
            return Err(Report::from(zone).into());
        }
        warn_of(&assembly);
        let settings = assembly.settings.clone();
        assembly.settings.requests.enabled = self.started.requests.enabled;
        let (summary, own_zones) = (summary(&assembly), OwnAllowlists::of(&assembly));
        let state = make_state(assembly, Some(&before), &self.metrics)?;
        warn_of_what_needs_a_restart(&self.started, &settings);
        self.settings = settings;
        self.own_zones = own_zones;
        self.rule_uses.adopt(&before.state, &state);
        self.swap(state);
        Ok(summary)
    }

    /// Adds a grant. Errors: why it was not added.
    fn allow(&mut self, grant: &Grant) -> Result<(), CommandError> {
        let (now, time) = (Instant::now(), SystemTime::now());
        let state = self.state.load_full();
        if let GrantScope::Group(group) = &grant.scope {
            let names: Vec<&str> = state.policies.groups().iter().map(|group| &*group.name).collect();
            if !names.contains(&&**group) {
                let names = names.join(", ");
                let text = format!("no client group is named {group:?}; help: use one of {names}");
                return Err(CommandError::Rejected(text));
            }
        }
        let temporary = state.policies.temporary().with(grant.clone(), now, time);
        let temporary = temporary.map_err(|refused| CommandError::Rejected(refused.to_string()))?;
        // Write the audit log first: no name may be allowed without an audit entry, even if the process ends here.
        self.grants.record(Event::Allowed, grant).map_err(CommandError::Failed)?;
        if let Err(error) = self.grants.save(&temporary) {
            self.grants.note(Event::Failed, grant);
            return Err(CommandError::Failed(error));
        }
        self.swap(State { policies: state.policies.with_temporary(temporary), ..(*state).clone() });
        Ok(())
    }

    /// Revokes the grant for `pattern` and `scope`; false if there is none.
    fn revoke(&mut self, pattern: &Pattern, scope: &GrantScope) -> Result<bool, CommandError> {
        let state = self.state.load_full();
        let Some(temporary) = state.policies.temporary().without(pattern, scope) else { return Ok(false) };
        let revoked = state.policies.temporary().iter().find(|grant| grant.is_same(pattern, scope));
        if let Some(grant) = revoked {
            self.grants.note(Event::Revoked, grant);
        }
        let prefix = state.policies.client_prefix();
        let ended = self.requests.book().revoked((pattern, scope), prefix, SystemTime::now());
        if let Some(Err(error)) = ended.map(|book| self.requests.replace(book)) {
            log!(RequestsUnsaved, "{error}");
        }
        // The grant is revoked now, even if that cannot be saved.
        let warn = |error| format!("revoked now, but allowed again after a restart: {error}");
        self.set_grants(temporary).map(|()| true).map_err(|error| CommandError::Failed(warn(error)))
    }

    /// Accepts a request. Errors: why it is not accepted.
    fn file(&self, request: &GrantRequest) -> Result<(), CommandError> {
        let prefix = self.state.load().policies.client_prefix();
        let book = self.requests.book().with(request.clone(), prefix).map_err(rejected)?;
        let saved = self.requests.record(RequestEvent::Requested, request);
        saved.and_then(|()| self.requests.replace(book)).map_err(|error| {
            // Who files a request is not known, and need not learn where namegate keeps its files.
            log!(RequestsUnsaved, "{error}");
            CommandError::Failed("the request cannot be saved; help: ask for namegate's log".to_owned())
        })
    }

    /// Decides a request; if it is approved, makes its grant. Errors: why not.
    fn decide(&mut self, id: RequestId, decision: RequestDecision) -> Result<GrantRequest, CommandError> {
        let outcome = decision.outcome.clone();
        let decided = self.requests.book().decided(id, decision, SystemTime::now());
        let (book, request) = decided.map_err(rejected)?;
        match outcome {
            RequestOutcome::Approve(grant, _) => {
                let before = self.state.load().policies.temporary().clone();
                // Its audit entry names the request.
                self.allow(&grant)?;
                let noted = self.requests.record(RequestEvent::Approved, &request);
                if let Err(error) = noted.and_then(|()| self.requests.replace(book)) {
                    // A request that is still pending has no grant.
                    self.grants.note(Event::Revoked, &grant);
                    self.set_grants(before).map_err(CommandError::Failed)?;
                    return Err(CommandError::Failed(error));
                }
            }
            RequestOutcome::Deny(_) => {
                let saved = self.requests.record(RequestEvent::Denied, &request);
                saved.and_then(|()| self.requests.replace(book)).map_err(CommandError::Failed)?;
            }
        }
        Ok(request)
    }

    /// Makes `temporary` the grants. Errors: they are in force, but not saved.
    fn set_grants(&mut self, temporary: Temporary) -> Result<(), String> {
        let saved = self.grants.save(&temporary);
        let state = self.state.load_full();
        self.swap(State { policies: state.policies.with_temporary(temporary), ..(*state).clone() });
        saved
    }

    /// Expires and forgets old requests.
    fn age_requests(&self) {
        let Some((book, expired)) = self.requests.aged(SystemTime::now()) else { return };
        for request in &expired {
            if let Err(error) = self.requests.record(RequestEvent::Expired, request) {
                log!(RequestsUnsaved, "{error}");
            }
        }
        if let Err(error) = self.requests.replace(book) {
            log!(RequestsUnsaved, "{error}");
        }
    }

    /// Expires grants that have ended by the monotonic clock or by the wall clock, whichever is first: the monotonic
    /// clock stops while the machine sleeps.
    fn expire(&mut self) {
        let state = self.state.load_full();
        let expired = state.policies.temporary().expired(Instant::now(), SystemTime::now());
        let Some((temporary, ended)) = expired else { return };
        for grant in &ended {
            self.grants.note(Event::Ended, grant);
        }
        if let Err(error) = self.set_grants(temporary) {
            log!(GrantsUnsaved, "{error}");
        }
    }

    /// Ends the rules whose last day has passed.
    fn end_rules(&self) {
        let (state, now) = (self.state.load(), SystemTime::now());
        let candidates = state.shadow.iter().map(|shadow| shadow.policies());
        let mut ended = false;
        for policies in std::iter::once(&state.policies).chain(candidates) {
            for group in policies.groups() {
                for rule in group.policy.end_rules(now) {
                    ended = true;
                    let until = rule.until().map(|until| until.to_string()).unwrap_or_default();
                    log!(RuleEnded, "rule `{rule}` at {} has ended: it applied until {until}", rule.place());
                }
            }
        }
        if ended {
            let now = Instant::now();
            state.cache.retain(|name, route| state.policies.may_keep(name, route, now));
        }
    }

    /// Sets the clock used for cookies, in case the system time was changed or the machine slept.
    fn set_cookie_clock(&self) {
        if let Some(cookies) = &self.state.load().cookies {
            cookies.set_clock(Instant::now(), unix_seconds());
        }
    }

    /// Logs a rule or client whose share of followed names is full, if any since the last warning.
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
            Share::ClientByRule(client, id) => format!("client {client} through rule {}", rule(id)),
        };
        let refused = policies.followed().refused();
        log!(
            FollowedShareFull,
            "cname = \"follow\": {holder} has used up its share of followed names; further CNAME targets are blocked \
             ({refused} so far)"
        );
        self.warned_of_full_share = Some(now);
    }

    /// Activates `state`, and removes cache entries that are no longer allowed for anyone.
    fn swap(&mut self, state: State) {
        let state = Arc::new(state);
        self.retired.push(self.state.swap(Arc::clone(&state)));
        let now = Instant::now();
        state.cache.retain(|name, route| state.policies.may_keep(name, route, now));
    }
}

fn rejected(error: RequestError) -> CommandError {
    CommandError::Rejected(error.to_string())
}

/// Runs `work` on a thread with the lowest priority. `work` must not take locks that packet threads wait for: they
/// would wait for a thread that runs after all others.
fn at_low_priority<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name("compile".to_owned()).spawn(|| {
        // If this fails, compiling competes with the other threads for CPU time.
        #[cfg(target_os = "linux")]
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
        work()
    })
}

/// Repeats `step` until it returns false. After a panic it calls `complain` and continues.
fn go_on(mut step: impl FnMut() -> bool, mut complain: impl FnMut()) {
    loop {
        match catch_unwind(AssertUnwindSafe(&mut step)) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => complain(),
        }
    }
}

/// A one-line summary: rules, allowlists, mode and policy hash.
pub fn summary(assembly: &Assembly) -> String {
    let policy = assembly.policy();
    let zones: Vec<String> =
        policy.sources().map(|(source, rules)| format!("{} ({rules})", source.zone)).collect();
    let mode = match policy.mode() {
        Mode::Enforce => "enforced",
        Mode::Observe => "observe mode: names that no rule allows are forwarded",
    };
    let groups = match assembly.policies.groups() {
        [_] => String::new(),
        groups => format!("; client groups: {} (default included)", groups.len()),
    };
    let rules = policy.rules();
    let noun = if rules == 1 { "rule" } else { "rules" };
    format!("{rules} {noun} from {}; {mode}{groups}; policy {}", zones.join(", "), policy.hash())
}

/// Logs warnings about probable mistakes.
pub fn warn_of(assembly: &Assembly) {
    for warning in assembly.warnings.log_lines(Severity::Warning) {
        log!(SettingsWarning, "{warning}");
    }
    for parameter in &assembly.unused_parameters {
        log!(SettingsWarning, "no loaded allowlist uses the parameter `{parameter}`");
    }
    let groups = assembly.policies.groups();
    for group in
        groups.iter().filter(|group| group.policy.rules() == 0 && group.policy.mode() == Mode::Enforce)
    {
        match groups.len() {
            1 => log!(NoRules, "no active rules: every name is blocked"),
            _ => {
                log!(NoRules, "no active rules for client group `{}`: every name is blocked", group.name);
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
        ("[server] (listen, reuse_port, workers, tcp_*, state_directory)", server(before) != server(after)),
        ("[admin]", before.admin != after.admin),
        ("[log]", before.log != after.log),
        ("[history]", before.history != after.history),
        ("[dnstap]", before.dnstap != after.dnstap),
        ("[prove]", before.prove != after.prove),
        ("requests.enabled", before.requests.enabled != after.requests.enabled),
        ("[webhook]", before.webhook != after.webhook),
        ("[sandbox]", before.sandbox != after.sandbox),
    ];
    for (what, _) in changed.iter().filter(|(_, changed)| *changed) {
        log!(RestartNeeded, "changes in {what} take effect after a restart");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panic_in_a_step_is_logged_and_the_thread_continues() {
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
