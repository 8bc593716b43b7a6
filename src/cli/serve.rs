//! `namegate serve`: the resolver in the foreground.

use std::sync::Arc;

use crate::assemble::{Assembly, Sources};
use crate::config::ValueSource;
use crate::net::socket::{Endpoint, reachable};
use crate::observe::metrics_registry::MetricsRegistry;
use crate::service::grant_store::GrantStore;
use crate::service::inherited::Inherited;
use crate::service::own_allowlists::OwnAllowlists;
use crate::service::reload::{Reloader, summary, warn_of};
use crate::service::sandbox::files::Files;
use crate::service::serve::Service;
use crate::service::shutdown::HangupHandler;
use crate::service::sockets::{AdminListener, Sockets};
use crate::service::state::default_servers;
use crate::service::watch::FileWatch;
use crate::service::{StartError, notify, sandbox, start_checks};
use crate::util::allocator;
use crate::util::log_event::log;

/// Runs the resolver in the foreground until SIGTERM or SIGINT.
///
/// Steps that need privileges come first: it opens sockets and enters the sandbox before it starts a second thread.
pub(super) fn run(mut sources: Sources) -> Result<(), StartError> {
    allocator::give_back_what_is_freed();
    let hangups = HangupHandler::catch().map_err(|error| cannot_start(&error))?;
    let inherited = Inherited::take()?;
    adopt(&mut sources, &inherited);
    let (mut watch, assembly) = FileWatch::assemble(&sources, 1, None);
    let assembly = assembly?;
    sources.pin(&assembly.origin);
    watch.forget_unused(&assembly);
    let faults = start_checks::faults(&assembly);
    if !faults.is_empty() {
        return Err(faults.join("\nerror: ").into());
    }
    let grants = GrantStore::new(assembly.settings.server.state_directory.clone());
    grants.prepare()?;
    let sockets = Sockets::open(&assembly.settings, inherited)?;
    let sandbox =
        sandbox::enter(&assembly.settings.sandbox, &Files::of(&sources, &assembly), sockets.awaited());
    let _written_at_the_end = crate::observe::log::start(&assembly.settings.log);
    let (settings, summary) = (assembly.settings.clone(), summary(&assembly));
    announce(&assembly, &sockets, &summary)?;
    sandbox.tell();
    warn_of(&assembly);
    let metrics = Arc::new(MetricsRegistry::install()?);
    let own_zones = OwnAllowlists::of(&assembly);
    let mut service =
        Service::start(assembly, sockets, Arc::clone(&metrics), std::io::stdout()).map_err(with_remedy)?;
    let signals = hangups.and_stops().map_err(|error| cannot_start(&error))?;
    let (state, listen) = (Arc::clone(&service.state), service.listen.clone());
    let reloader = Reloader {
        sources,
        state,
        started: settings.clone(),
        settings,
        listen,
        own_zones,
        metrics,
        grants,
        requests: service.requests.clone(),
        rule_uses: Arc::clone(&service.rule_uses),
        retired: Vec::new(),
        sandbox,
        warned_of_full_share: None,
        compiling: None,
        watch,
    };
    service.obey_orders(reloader).map_err(|error| cannot_start(&error))?;
    log!(Ready, "ready");
    notify::ready(&summary);
    service.run_until_stopped(signals);
    log!(Stopping, "shutting down: waiting for queries in flight");
    notify::stopping();
    service.shut_down();
    log!(Stopped, "stopped");
    Ok(())
}

/// Adds a remedy to a plain I/O error: at this point it means that a resource limit is reached.
fn with_remedy(error: StartError) -> StartError {
    error.downcast::<std::io::Error>().map_or_else(|other| other, |error| cannot_start(&error))
}

fn cannot_start(error: &std::io::Error) -> StartError {
    format!(
        "cannot start: resource limit reached: {error}\n  help: raise the limit of threads (TasksMax=, ulimit -u), file \
         descriptors (LimitNOFILE=, ulimit -n) and memory (ulimit -v)"
    )
    .into()
}

/// Takes the addresses of inherited sockets in place of those in the settings, at every reload as well.
fn adopt(sources: &mut Sources, inherited: &Inherited) {
    let overrides = &mut sources.overrides;
    let mut is_inherited =
        |setting| drop(overrides.sources.insert(setting, "an inherited socket".to_owned()));
    if !inherited.listen().is_empty() {
        overrides.listen = inherited.listen();
        is_inherited("server.listen");
    }
    if let Some(admin) = inherited.admin() {
        overrides.admin = Some(Some(admin));
        is_inherited("admin.listen");
    }
}

/// Logs where the resolver listens and forwards, what it allows, and where its settings come from.
fn announce(assembly: &Assembly, sockets: &Sockets, summary: &str) -> Result<(), StartError> {
    for Endpoint { address, .. } in &sockets.endpoints {
        log!(Listening, %address, "listening on {address} (udp, tcp)");
    }
    let servers: Vec<String> = default_servers(assembly)?.iter().map(ToString::to_string).collect();
    log!(Forwarding, "forwarding to {}", servers.join(", "));
    log!(Policy, "{summary}");
    log!(Started, "namegate {} with settings from {}", env!("CARGO_PKG_VERSION"), assembly.origin);
    let mut in_file = Vec::new();
    for (path, source) in &assembly.sources {
        match source {
            ValueSource::File { line, .. } => in_file.push(format!("{path} (line {line})")),
            ValueSource::Outside(_) => log!(Setting, "{path} is set by {source}"),
        }
    }
    if !in_file.is_empty() {
        log!(Setting, "{} sets {}", assembly.origin, in_file.join(", "));
    }
    if let Some(AdminListener::Open(listener)) = &sockets.admin {
        let address = listener.local_addr()?;
        log!(AdminListening, %address, "admin on http://{address} (status page, /metrics, /livez, /readyz)");
    }
    if let Some(Endpoint { address, .. }) = sockets.endpoints.first() {
        let server = reachable(*address);
        log!(Hint, "try an allowed name: dig @{} -p {} NAME", server.ip(), server.port());
    }
    Ok(())
}
