//! [`Service`]: the running resolver, from bound sockets to the last reply.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Sender, channel};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::token::TokenFile;
use crate::admin::{Admin, Control, listener};
use crate::assemble::Assembly;
use crate::config::{ServerSettings, Settings};
use crate::control::{CommandQueue, ControlHandle};
use crate::engine::{Engine, State};
use crate::events::counters::Counters;
use crate::events::own_clients::OwnClients;
use crate::events::sender::SharedEventSender;
use crate::listen::connections::Connections;
use crate::listen::delivery::{Delivery, UdpMiss, Waiter};
use crate::listen::tcp::{LONG_MESSAGES, TcpLimits, TcpService};
use crate::listen::udp::{self, LOCAL_QUEUE, Worker};
use crate::net::batch;
use crate::net::reply_socket::ReplySocket;
use crate::net::socket::Endpoint;
use crate::observe::event_log::EventLog;
use crate::observe::history::History;
use crate::observe::live_stats::LiveStats;
use crate::observe::metrics_registry::{MetricsRegistry, keep_rates};
use crate::relay::{Relay, RelayHandle};
use crate::service::grant_store::GrantStore;
use crate::service::reload::Reloader;
use crate::service::request_store::RequestStore;
use crate::service::rule_use_store::RuleUseStore;
use crate::service::shutdown::{Request, Signals};
use crate::service::sockets::{AdminListener, Sockets};
use crate::service::state::make_state;
use crate::service::watchdog::Watchdog;
use crate::service::webhook::{Webhook, WebhookSources};
use crate::service::{StartError, descriptors};
use crate::tools::prove::watch::Watch;
use crate::upstream::probe;
use crate::util::duration::shown;
use crate::util::heartbeat::Heartbeat;
use crate::util::log_event::log;

/// Time beyond the upstream deadline that shutdown waits for replies to be written.
const DRAIN_GRACE: Duration = Duration::from_secs(1);

/// Time that the event log gets at shutdown to write its last lines.
const JOURNAL_PATIENCE: Duration = Duration::from_millis(500);

/// The running service.
pub struct Service {
    /// The state that decides queries.
    pub state: Arc<ArcSwap<State>>,
    /// All metrics.
    pub metrics: Arc<MetricsRegistry>,
    /// The listen addresses for queries.
    pub listen: Vec<SocketAddr>,
    /// The listen address for HTTP.
    pub admin: Option<SocketAddr>,
    /// Sends commands to the service.
    pub orders: ControlHandle,
    /// namegate's own sockets.
    own_clients: Arc<OwnClients>,
    /// The receiving end of the commands, until a reloader takes it.
    due: Option<(CommandQueue, Heartbeat)>,
    /// The requests for grants.
    pub requests: RequestStore,
    /// Collects and saves the uses of rules.
    pub rule_uses: Arc<RuleUseStore>,
    runtime: Runtime,
    workers: Vec<JoinHandle<()>>,
    relay: Option<(RelayHandle<Waiter>, JoinHandle<()>)>,
    event_log: Option<JoinHandle<()>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// The upstream deadline at start.
    deadline: Duration,
}

impl Service {
    /// Starts answering on `sockets`. The query log is written to `query_log`.
    pub fn start(
        assembly: Assembly,
        sockets: Sockets,
        metrics: Arc<MetricsRegistry>,
        query_log: impl std::io::Write + Send + 'static,
    ) -> Result<Self, StartError> {
        let (settings, settings_file) = (assembly.settings.clone(), assembly.origin.as_str().into());
        let mut state = make_state(assembly, None, &metrics)?;
        let grants = GrantStore::new(settings.server.state_directory.clone());
        state.policies = state.policies.with_temporary(grants.restore(settings.admin.max_temporary));
        let directory = settings.server.state_directory.clone();
        let requests = RequestStore::restore(directory.clone());
        let rule_uses = Arc::new(RuleUseStore::restore(directory, Arc::clone(metrics.rule_uses()), &state));
        let (orders, due) = ControlHandle::new();
        let state = Arc::new(ArcSwap::from_pointee(state));
        let Sockets { endpoints, admin: listener } = sockets;
        let started = (Instant::now(), SystemTime::now());
        let live = Arc::new(LiveStats::new(&settings, started.0));
        let mut event_log =
            EventLog::new(&settings, Arc::clone(&state), Arc::clone(&live), Box::new(query_log))
                .map_err(|error| format!("cannot open the query log: {error}"))?;
        let history = History::of(&settings);
        let feed = history.as_ref().map(|history| history.start(Arc::clone(&state))).transpose()?;
        event_log = event_log.with_history(feed);
        history.iter().for_each(|history| metrics.watch_history(history));
        let runtime = Builder::new_multi_thread().thread_name("runtime").enable_all().build()?;
        let mut service = Self {
            listen: endpoints.iter().map(|endpoint| endpoint.address).collect(),
            state,
            metrics,
            admin: None,
            orders,
            own_clients: Arc::default(),
            due: None,
            requests,
            rule_uses,
            runtime,
            workers: Vec::new(),
            relay: None,
            event_log: None,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            deadline: settings.upstream.deadline,
        };
        let (state, metrics) = (Arc::clone(&service.state), Arc::clone(&service.metrics));
        let judged_by = Arc::clone(&state);
        service.runtime.spawn(probe::run(move || Arc::clone(&judged_by.load().upstreams)));
        let losses = event_log.losses().clone();
        let control = Control::new(TokenFile::of(&settings)?, settings.admin.read, service.orders.clone());
        service.runtime.spawn(keep_rates(Arc::clone(&metrics), Arc::clone(&live), losses.clone()));
        let max_temporary = settings.admin.max_temporary;
        let mut watchdog = Watchdog::default();
        service.due = Some((due, watchdog.listen_to_patiently("reload")));
        let health = watchdog.health();
        metrics.watch_requests(service.requests.shared());
        let requests = Some(service.requests.shared()).filter(|_| settings.requests.enabled);
        let own_clients = Arc::clone(&service.own_clients);
        let hook_live = Arc::clone(&live);
        let canaries = settings.prove.must_not_resolve.clone().into();
        let admin = Admin {
            state,
            metrics,
            live,
            history,
            losses,
            started,
            control,
            max_temporary,
            requests,
            own_clients,
            health,
            canaries,
            settings_file,
        };
        if let Some(listener) = listener {
            service.serve_admin(listener, admin.router(&settings.admin.hosts))?;
        }
        service.serve_queries(endpoints, &settings, &mut event_log, &mut watchdog)?;
        service.runtime.spawn(watchdog.run());
        let (standing, own_clients) = (service.metrics.standing(), &service.own_clients);
        if let Some(watch) =
            Watch::new(&settings.prove, &service.listen, &service.state, standing, own_clients)
        {
            service.runtime.spawn(watch.run(service.stop.clone()));
        }
        let sources = WebhookSources {
            requests: service.requests.shared(),
            live: hook_live,
            metrics: Arc::clone(&service.metrics),
        };
        if let Some(webhook) = Webhook::new(&settings, sources)? {
            service.runtime.spawn(webhook.run(service.stop.clone()));
        }
        service.event_log = Some(event_log.start()?);
        Ok(service)
    }

    fn serve_admin(&mut self, listener: AdminListener, router: Router) -> std::io::Result<()> {
        let stop = self.stop.clone();
        match listener {
            AdminListener::Open(listener) => {
                self.admin = Some(listener.local_addr()?);
                self.runtime.spawn(listener::serve(self.adopt(listener)?, router, stop));
            }
            AdminListener::Awaited(listener) => {
                let address = listener.address();
                log!(
                    AdminAwaited,
                    "another process serves HTTP on {address}: this one has no metrics, health checks or status page \
                     until the other exits"
                );
                self.runtime.spawn(async move {
                    match listener.open().await.and_then(TcpListener::from_std) {
                        Ok(listener) => {
                            log!(
                                AdminListening,
                                "admin on http://{address} (the other process no longer uses it)"
                            );
                            listener::serve(listener, router, stop).await;
                        }
                        Err(error) => {
                            log!(
                                AdminFailed,
                                "cannot serve HTTP on {address}: {error}; restart namegate to retry"
                            );
                        }
                    }
                });
            }
        }
        Ok(())
    }

    /// Registers a listener with the runtime.
    fn adopt(&self, listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
        let _runtime = self.runtime.enter();
        TcpListener::from_std(listener)
    }

    fn serve_queries(
        &mut self,
        endpoints: Vec<Endpoint>,
        settings: &Settings,
        event_log: &mut EventLog,
        watchdog: &mut Watchdog,
    ) -> Result<(), StartError> {
        let shared = self.metrics.watch(Counters::shared());
        let sender = SharedEventSender::from(event_log.sender(shared));
        let relay = self.start_relay(event_log, watchdog)?;
        let (local, waiting) = channel(LOCAL_QUEUE);
        self.runtime.spawn(self.tasks.track_future(udp::answer_from_local_zones(
            waiting,
            Arc::clone(&self.state),
            relay.clone(),
            sender.clone(),
        )));
        let limits = TcpLimits {
            queries_per_connection: settings.server.tcp_queries_per_connection,
            idle: settings.server.tcp_idle_timeout,
        };
        let ServerSettings { tcp_connections, tcp_connections_per_client, .. } = settings.server;
        let limit = descriptors::raise_limit();
        let most = descriptors::connections(tcp_connections, limit);
        if let Some(shortage) = descriptors::shortage(tcp_connections, most, limit) {
            log!(ConnectionsLimited, "{shortage}");
        }
        let connections = Arc::new(Connections::new(most, tcp_connections_per_client));
        self.metrics.watch_connections(&connections);
        let (state, stop, tasks) = (Arc::clone(&self.state), self.stop.clone(), self.tasks.clone());
        let long = Arc::new(Semaphore::new(LONG_MESSAGES));
        let own_clients = Arc::clone(&self.own_clients);
        let tcp = TcpService {
            state,
            sender,
            own_clients,
            relay: relay.clone(),
            limits,
            long,
            connections,
            stop,
            tasks,
        };
        for Endpoint { address, udp, tcp: listener, is_inherited } in endpoints {
            let listener = self.adopt(listener)?;
            let listening = tcp.clone().listen(listener, is_inherited);
            self.runtime.spawn(self.tasks.track_future(listening));
            for (index, socket) in udp.into_iter().enumerate() {
                let name = format!("udp-{index}");
                let (socket, worker) = (Arc::new(socket), format!("{name} on {address}"));
                let heartbeat = watchdog.listen_to(&worker);
                watchdog.watch_sender(&worker, &socket);
                let listening = Listening { name, socket, is_inherited, heartbeat };
                self.start_worker(listening, relay.clone(), local.clone(), event_log)
                    .map_err(|error| format!("cannot start a worker for {address}: {error}"))?;
            }
        }
        Ok(())
    }

    fn start_relay(
        &mut self,
        event_log: &mut EventLog,
        watchdog: &mut Watchdog,
    ) -> std::io::Result<RelayHandle<Waiter>> {
        let counters = self.metrics.watch(Counters::of_one_thread());
        let engine = Engine::new(&self.state, Arc::clone(&counters));
        let delivery = Delivery::new(engine, event_log.sender(counters));
        let relay =
            Relay::new(&self.state, delivery, self.runtime.handle().clone(), watchdog.listen_to("relay"))?;
        let asker = relay.asker();
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || relay.run())?;
        self.relay = Some((asker.clone(), thread));
        Ok(asker)
    }

    fn start_worker(
        &mut self,
        listening: Listening,
        relay: RelayHandle<Waiter>,
        local: Sender<UdpMiss>,
        event_log: &mut EventLog,
    ) -> std::io::Result<()> {
        let Listening { name, socket, is_inherited, heartbeat } = listening;
        let receiving = socket.receiving();
        if receiving.local_addr()?.ip().is_unspecified() {
            batch::tell_local_address(receiving)?;
        }
        let counters = self.metrics.watch(Counters::of_one_thread());
        let engine = Engine::new(&self.state, Arc::clone(&counters));
        let sender = event_log.sender(counters);
        self.metrics.watch_socket(&socket);
        let own_clients = Arc::clone(&self.own_clients);
        let worker = Worker { socket, engine, sender, own_clients, relay, local, is_inherited, heartbeat };
        self.workers.push(worker.spawn(name, self.stop.clone())?);
        Ok(())
    }

    /// Starts `reloader`, which executes commands from now on.
    ///
    /// Errors: its thread cannot be started.
    pub fn obey_orders(&mut self, reloader: Reloader) -> std::io::Result<()> {
        self.due.take().map_or(Ok(()), |(due, heartbeat)| reloader.start(due, heartbeat))
    }

    /// Handles signals until one requests a stop, even during a reload.
    pub fn run_until_stopped(&self, (runtime, mut signals): (Runtime, Signals)) {
        runtime.block_on(async {
            while signals.next().await == Request::Reload {
                self.orders.reload();
            }
        });
    }

    /// Stops accepting queries, answers those in flight within the upstream deadline, and ends.
    pub fn shut_down(self) {
        self.stop.cancel();
        for worker in self.workers {
            let _ = worker.join();
        }
        // Queries in flight may be older than the last reload.
        let deadline = self.deadline.max(self.state.load().upstreams.config().deadline);
        let drain = deadline + DRAIN_GRACE;
        let given_up = Instant::now() + drain;
        self.tasks.close();
        let drained = self.runtime.block_on(async { tokio::time::timeout(drain, self.tasks.wait()).await });
        let relayed = self.relay.is_none_or(|(asker, relay)| {
            asker.finish();
            ends_before(given_up, &relay)
        });
        if drained.is_err() || !relayed {
            log!(
                ShutdownTimedOut,
                "shutdown timed out: some queries were still in flight after {}",
                shown(drain)
            );
        }
        self.runtime.shutdown_timeout(Duration::from_millis(100));
        self.rule_uses.finish(&self.state.load());
        // All senders ended with the workers and tasks. Do not wait for a standard output that nobody reads.
        let given_up = Instant::now() + JOURNAL_PATIENCE;
        if self.event_log.is_some_and(|event_log| !ends_before(given_up, &event_log)) {
            log!(
                QueryLogIncomplete,
                "the query log or the history is incomplete: the last lookups were not written within {}",
                shown(JOURNAL_PATIENCE)
            );
        }
    }
}

/// One worker's socket, name and heartbeat.
struct Listening {
    name: String,
    socket: Arc<ReplySocket>,
    is_inherited: bool,
    heartbeat: Heartbeat,
}

/// Waits for a thread to end, at most until `given_up`.
fn ends_before(given_up: Instant, thread: &JoinHandle<()>) -> bool {
    while !thread.is_finished() && Instant::now() < given_up {
        std::thread::sleep(Duration::from_millis(1));
    }
    thread.is_finished()
}
