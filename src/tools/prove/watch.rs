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
use crate::events::own_clients::OwnClients;
use crate::observe::canary::{Canary, CanaryExpect, random_label};
use crate::observe::canary_results::{CanaryOutcome, CanaryResult, CanaryResults, Round};
use crate::policy::{Policies, Verdict};
use crate::util::label::Label;
use crate::util::log_event::log;
use crate::wire::code::{Class, Type};
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;

/// Time between queries: at most 50 per second.
const PACE: Duration = Duration::from_millis(20);

/// Interval for checking whether a round is due. Short, so that a round follows each start and reload quickly.
const LOOK: Duration = Duration::from_secs(1);

/// Time for the workers to receive the last query of a round.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Queries the process's own listeners for the canaries.
pub struct Watch {
    canaries: Vec<Canary>,
    interval: Duration,
    servers: Vec<SocketAddr>,
    state: Arc<ArcSwap<State>>,
    standing: Arc<CanaryResults>,
    own_clients: Arc<OwnClients>,
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
        own_clients: &Arc<OwnClients>,
    ) -> Option<Self> {
        let canaries = Canary::of(settings);
        let watch = Self {
            canaries,
            interval: settings.interval,
            servers: servers.to_vec(),
            state: Arc::clone(state),
            standing: Arc::clone(standing),
            own_clients: Arc::clone(own_clients),
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
            // A query that is received after its socket was withdrawn would count as a client's.
            sleep(AFTERMATH).await;
            for asker in askers {
                asker.close().await;
            }
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

    async fn round(
        &self,
        generation: u64,
        askers: &mut Vec<ProbeClient<Arc<OwnClients>>>,
    ) -> Result<Round, Void> {
        for server in &self.servers {
            let asker = ProbeClient::new(*server, Arc::clone(&self.own_clients)).await;
            askers.push(asker.map_err(Void::NoSocket)?);
        }
        let state = self.state.load_full();
        let serial = state.policies.default().serial();
        let random = random_label();
        let mut canaries = Vec::new();
        for canary in &self.canaries {
            let mut result = CanaryResult::Passed;
            let probes = usual_ways(canary, &random);
            for asker in askers.iter_mut() {
                if is_observed(&state.policies, canary, asker.address().map_err(Void::NoSocket)?) {
                    result = CanaryResult::Observed;
                } else if let Some(fault) = first_fault(asker, &probes, serial).await? {
                    // Stop at the first failure: further probes may leak queries to an upstream.
                    result = CanaryResult::Failed(fault);
                    break;
                }
            }
            if self.generation() != generation {
                return Err(Void::Changed);
            }
            canaries.push(CanaryOutcome { canary: canary.clone(), result });
        }
        Ok(Round { ended: SystemTime::now(), canaries })
    }

    /// Publishes the results of a round, and logs what has changed since the round before.
    fn note(&self, round: &Round) {
        let before = self.standing.set(Some(round.clone()));
        let before = before.map(|before| before.canaries).unwrap_or_default();
        let result_before = |canary: &Canary| {
            before.iter().find(|outcome| outcome.canary == *canary).map(|outcome| &outcome.result)
        };
        for CanaryOutcome { canary, result } in &round.canaries {
            let (name, expect) = (&canary.name, canary.expect.label());
            let failed_before = matches!(result_before(canary), Some(CanaryResult::Failed(_)));
            match result {
                CanaryResult::Failed(fault) if !failed_before => {
                    log!(CanaryFailed, %name, "canary {name} ({expect}) failed: {fault}");
                }
                CanaryResult::Passed if failed_before => {
                    log!(CanaryRecovered, %name, "canary {name} ({expect}) recovered");
                }
                _ => {}
            }
        }
        let observed = |canaries: &[CanaryOutcome]| {
            canaries.iter().filter(|outcome| outcome.result == CanaryResult::Observed).count()
        };
        let count = observed(&round.canaries);
        if count > 0 && observed(&before) == 0 {
            log!(
                CanariesUntested,
                "canaries that must not resolve are not tested: observe mode forwards their names ({count}); set policy.mode to \
                 \"enforce\" to block them"
            );
        }
    }
}

/// True if `canary` must not resolve, but observe mode forwards its name for the client at `address`.
fn is_observed(policies: &Policies, canary: &Canary, address: SocketAddr) -> bool {
    let question = Question { name: canary.name.clone(), qtype: Type::A, class: Class::IN };
    let (client, flags) = (address.ip(), AnswerFlags { dnssec_ok: false, checking_disabled: false });
    let verdict = policies
        .group(client)
        .map(|group| policies.decide((client, group), &question, flags, Instant::now()));
    canary.expect == CanaryExpect::NotResolve && matches!(verdict, Some(Verdict::Observed(..)))
}

/// The first failed probe, as text.
async fn first_fault(
    asker: &mut ProbeClient<Arc<OwnClients>>,
    probes: &[Probe],
    serial: u32,
) -> Result<Option<String>, Void> {
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
