//! [`Watch`]: a running gate that asks itself for its canaries.

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
use crate::events::untold::Untold;
use crate::observe::canary::Canary;
use crate::observe::canary_results::{CanaryOutcome, CanaryResults, Round};
use crate::util::label::Label;

/// Time between two queries: at most 50 a second.
const PACE: Duration = Duration::from_millis(20);

/// How often it is looked whether a round is due: soon after the start, and after each reload.
const LOOK: Duration = Duration::from_secs(1);

/// Time for the event log to have seen the last query of a round.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Asks the gate's own addresses for its canaries.
pub struct Watch {
    canaries: Vec<Canary>,
    interval: Duration,
    servers: Vec<SocketAddr>,
    state: Arc<ArcSwap<State>>,
    standing: Arc<CanaryResults>,
    untold: Arc<Untold>,
}

/// Why a round tells nothing.
enum Void {
    /// The policy changed in its middle.
    Changed,
    /// The gate does not serve its own machine.
    Prohibited(SocketAddr),
    /// There is no socket to ask from.
    NoSocket(std::io::Error),
}

impl Watch {
    /// Asks `servers`, as `settings` say; none where they say that nothing is to be asked.
    pub fn new(
        settings: &ProveSettings,
        servers: &[SocketAddr],
        state: &Arc<ArcSwap<State>>,
        standing: &Arc<CanaryResults>,
        untold: &Arc<Untold>,
    ) -> Option<Self> {
        let canaries = Canary::of(settings);
        let watch = Self {
            canaries,
            interval: settings.interval,
            servers: servers.to_vec(),
            state: Arc::clone(state),
            standing: Arc::clone(standing),
            untold: Arc::clone(untold),
        };
        (!settings.interval.is_zero() && !watch.canaries.is_empty()).then_some(watch)
    }

    /// Goes on until `stop` is cancelled.
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
            // The sockets are kept so long that nobody else gets their ports and goes untold.
            sleep(AFTERMATH).await;
            self.untold.clear();
            drop(askers);
            match round {
                Ok(round) => self.note(&round),
                Err(Void::Changed) => continue,
                Err(Void::Prohibited(server)) => {
                    if self.standing.set(None).is_some() || judged.is_none() {
                        tracing::warn!(
                            "the names of [prove] cannot be asked for: {server} does not serve this machine; add its \
                             address to `allow_clients` in [server], or set `interval = \"0s\"` in [prove]"
                        );
                    }
                }
                Err(Void::NoSocket(error)) => {
                    tracing::warn!("the names of [prove] cannot be asked for: {error}");
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
            let asker = ProbeClient::new(*server, Some(Arc::clone(&self.untold))).await;
            askers.push(asker.map_err(Void::NoSocket)?);
        }
        let serial = self.state.load().policies.default().serial();
        let random = random_label();
        let mut canaries = Vec::new();
        for canary in &self.canaries {
            let mut fault = None;
            let probes = usual_ways(canary, &random);
            for asker in askers.iter_mut() {
                // One fault is enough, and each may be a query that an upstream gets to see.
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

    /// Keeps a round for all to see, and logs what is not as it was.
    fn note(&self, round: &Round) {
        let before = self.standing.set(Some(round.clone()));
        let failed_before = |canary: &Canary| {
            let outcomes = before.iter().flat_map(|before| &before.canaries);
            outcomes.filter(|outcome| outcome.canary == *canary).any(|outcome| outcome.fault.is_some())
        };
        for CanaryOutcome { canary, fault } in &round.canaries {
            let (name, expect) = (&canary.name, canary.expect.label());
            match (fault, failed_before(canary)) {
                (Some(fault), false) => tracing::error!("the canary {name} ({expect}) failed: {fault}"),
                (None, true) => tracing::info!("the canary {name} ({expect}) is as it must be again"),
                _ => {}
            }
        }
    }
}

/// The first reply that is not as it must be, for people.
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

/// A label that nobody has asked for before.
pub fn random_label() -> String {
    format!("n{:016x}", rand::random::<u64>())
}
