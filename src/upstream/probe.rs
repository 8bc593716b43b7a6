//! Health probes: query an upstream for the root's name servers if it is down or has not replied recently, and check
//! for forwarding loops.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::loop_watch::LoopChange;
use super::server::{LATELY, Server};
use super::upstreams::Upstreams;
use super::{ExchangeError, UpstreamQuery};
use crate::policy::clients::{ClientPrefix, ShareHolder};
use crate::util::log_event::log;
use crate::wire::code::{Class, Type};
use crate::wire::name::Name;
use crate::wire::query::Question;
use crate::wire::request::AnswerFlags;

/// Time between rounds of probes, the same as Azure's load balancer.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a probe may take: longer than the 4 s that Azure's resolver may spend on a slow recursion.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The share of the budget that probes use; no client has the same.
fn ourselves() -> ShareHolder {
    ShareHolder::new(ClientPrefix::default().whole(Ipv4Addr::UNSPECIFIED.into()), true)
}

/// NS of the root.
const NS: Type = Type(2);

/// At each round, probes the servers that `in_force` returns; runs until the future is dropped. The first round starts immediately.
pub async fn run(in_force: impl Fn() -> Arc<Upstreams>) {
    let mut rounds = interval(INTERVAL);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let upstreams = in_force();
        let quiet = |server: &&Arc<Server>| {
            !server.is_up() || server.stats.since_last_reply().is_none_or(|since| since + INTERVAL >= LATELY)
        };
        for server in upstreams.servers().iter().filter(quiet) {
            tokio::spawn(probe(Arc::clone(server), upstreams.config().randomize_case));
        }
        let is_due = |server: &&Arc<Server>| server.stats.loops.is_due(Instant::now());
        for server in upstreams.servers().iter().filter(is_due) {
            tokio::spawn(look_for_loop(Arc::clone(server), upstreams.config().randomize_case));
        }
    }
}

/// Sends `server` a query for a unique name. The result does not affect its health: the query may well fail.
async fn look_for_loop(server: Arc<Server>, randomize_case: bool) {
    let loops = &server.stats.loops;
    let (question, flags) = (loops.question(), AnswerFlags::default());
    let prompt = UpstreamQuery { question, flags, client: ourselves(), randomize_case };
    let deadline = Instant::now() + TIMEOUT;
    let Some(permit) = server.permit(ourselves(), deadline).await else { return };
    let before = loops.arrivals();
    let is_answered = tokio::select! {
        biased;
        () = loops.arrival(before) => false,
        outcome = server.exchange_unnoted(&prompt, deadline, permit) => outcome.is_ok(),
    };
    match loops.note_end(before, is_answered, Instant::now()) {
        Some(LoopChange::Loops) => log!(
            ForwardingLoop,
            "forwarding loop: upstream {} forwards queries back to this resolver, so no allowed name resolves through \
             it; change where it forwards, or set `upstream.servers` to another resolver",
            server.name()
        ),
        Some(LoopChange::LoopEnded) => {
            log!(
                ForwardingLoopEnded,
                "upstream {} no longer forwards queries back to this resolver",
                server.name()
            );
        }
        None => {}
    }
}

async fn probe(server: Arc<Server>, randomize_case: bool) {
    let question = Question { name: Name::ROOT, qtype: NS, class: Class::IN };
    let prompt =
        UpstreamQuery { question, flags: AnswerFlags::default(), client: ourselves(), randomize_case };
    let deadline = Instant::now() + TIMEOUT;
    let Some(permit) = server.permit(ourselves(), deadline).await else { return };
    let started = Instant::now();
    // Every other outcome was recorded by the exchange.
    if let Err(ExchangeError::Timeout) = server.exchange(&prompt, deadline, permit).await {
        server.note_silence(started);
    }
    server.stats.probed();
}
