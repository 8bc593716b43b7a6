//! [`Watch`]: tests the canaries inside the running process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::ask::{ProbeClient, Transport};
use super::matrix::usual_ways;
use super::probe::{Probe, ProbeFinding};
use crate::config::ProveSettings;
use crate::engine::State;
use crate::events::hidden_clients::HiddenClients;
use crate::observe::canary::{Canary, random_label};
use crate::observe::canary_results::{CanaryOutcome, CanaryResults, Round};
use crate::util::label::Label;
use crate::util::log_event::log;

/// Time between queries: at most 50 per second.
const PACE: Duration = Duration::from_millis(20);

/// Interval for checking whether a round is due. Short, so that a round follows each start and reload quickly.
const LOOK: Duration = Duration::from_secs(1);

/// Time for the event log to process the last query of a round.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Queries the process's own listeners for the canaries.
pub struct Watch {
    canaries: Vec<Canary>,
    interval: Duration,
    servers: Vec<SocketAddr>,
    state: Arc<ArcSwap<State>>,
    standing: Arc<CanaryResults>,
    hidden_clients: Arc<HiddenClients>,
}

/// Why a round has no result.
enum Void {
    /// The policy changed during the round.
    Changed,
    /// The resolver does not serve its own host.
    Prohibited(SocketAddr),
    /// No socket is available.
    NoSocket(std::io::Error),
}

impl Watch {
    /// A watch on `servers`. `None` if `settings` have no canaries or an interval of 0.
    pub fn new(
        settings: &ProveSettings,
        servers: &[SocketAddr],
        state: &Arc<ArcSwap<State>>,
        standing: &Arc<CanaryResults>,
        hidden_clients: &Arc<HiddenClients>,
    ) -> Option<Self> {
        let canaries = Canary::of(settings);
        let watch = Self {
            canaries,
            interval: settings.interval,
            servers: servers.to_vec(),
            state: Arc::clone(state),
            standing: Arc::clone(standing),
            hidden_clients: Arc::clone(hidden_clients),
        };
        (!settings.interval.is_zero() && !watch.canaries.is_empty()).then_some(watch)
    }

    /// Runs until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(&self) {
        let mut ended = Instant::now();
        let mut judged = None;
        loop {
            sleep(LOOK).await;
            let generation = self.generation();
            if judged == Some(generation) && ended.elapsed() < self.interval {
                continue;
            }
            let mut askers = Vec::new();
            let round = self.round(generation, &mut askers).await;
            // Hold the sockets until now: another client that got their ports would be missing from the logs.
            sleep(AFTERMATH).await;
            self.hidden_clients.clear();
            drop(askers);
            match round {
                Ok(round) => self.note(&round),
                Err(Void::Changed) => continue,
                Err(Void::Prohibited(server)) => {
                    if self.standing.set(None).is_some() || judged.is_none() {
                        log!(
                            CanariesUntested,
                            "canaries are not tested: {server} does not serve this host; add this host's address to \
                             server.allow_clients, or set prove.interval to 0s"
                        );
                    }
                }
                Err(Void::NoSocket(error)) => {
                    log!(CanariesUntested, "canaries are not tested: {error}");
                }
            }
            (judged, ended) = (Some(generation), Instant::now());
        }
    }

    fn generation(&self) -> u64 {
        self.state.load().policies.generation()
    }

    async fn round(&self, generation: u64, askers: &mut Vec<ProbeClient>) -> Result<Round, Void> {
        for server in &self.servers {
            let asker = ProbeClient::new(*server, Some(Arc::clone(&self.hidden_clients))).await;
            askers.push(asker.map_err(Void::NoSocket)?);
        }
        let serial = self.state.load().policies.default().serial();
        let random = random_label();
        let mut canaries = Vec::new();
        for canary in &self.canaries {
            let mut fault = None;
            let probes = usual_ways(canary, &random);
            for asker in askers.iter_mut() {
                // Stop at the first failure: further probes may leak queries to an upstream.
                if fault.is_none() {
                    fault = first_fault(asker, &probes, serial).await?;
                }
            }
            if self.generation() != generation {
                return Err(Void::Changed);
            }
            canaries.push(CanaryOutcome { canary: canary.clone(), fault });
        }
        Ok(Round { ended: SystemTime::now(), canaries })
    }

    /// Publishes the results of a round, and logs canaries that failed or recovered.
    fn note(&self, round: &Round) {
        let before = self.standing.set(Some(round.clone()));
        let failed_before = |canary: &Canary| {
            let outcomes = before.iter().flat_map(|before| &before.canaries);
            outcomes.filter(|outcome| outcome.canary == *canary).any(|outcome| outcome.fault.is_some())
        };
        for CanaryOutcome { canary, fault } in &round.canaries {
            let (name, expect) = (&canary.name, canary.expect.label());
            match (fault, failed_before(canary)) {
                (Some(fault), false) => log!(CanaryFailed, %name, "canary {name} ({expect}) failed: {fault}"),
                (None, true) => log!(CanaryRecovered, %name, "canary {name} ({expect}) recovered"),
                _ => {}
            }
        }
    }
}

/// The first failed probe, as text.
async fn first_fault(asker: &mut ProbeClient, probes: &[Probe], serial: u32) -> Result<Option<String>, Void> {
    for probe in probes {
        for transport in [Transport::Udp, Transport::Tcp] {
            sleep(PACE).await;
            let finding = match asker.ask(&probe.query, transport, probe.wanted.patience()).await {
                Ok(reply) => probe.wanted.check(&reply, serial),
                Err(error) => ProbeFinding::Failed(error.to_string()),
            };
            match finding {
                ProbeFinding::Proven => {}
                ProbeFinding::Prohibited => return Err(Void::Prohibited(asker.server())),
                ProbeFinding::Failed(found) => {
                    let (what, server) = (&probe.what, asker.server());
                    return Ok(Some(format!("{what} at {server} over {}: {found}", transport.label())));
                }
            }
        }
    }
    Ok(None)
}
