//! Fetches an answer for a task: from a local zone, or through the relay.

use std::time::Instant;

use tokio::sync::oneshot;

use crate::engine::{Engine, LocalFetched, Miss, Outcome, TargetLookup, TargetOutcome};
use crate::listen::delivery::Waiter;
use crate::local::{LocalAnswer, LocalFailure, join};
use crate::policy::AllowedQuery;
use crate::relay::RelayHandle;
use crate::upstream::Fetched;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::ErrorCode;
use crate::wire::name::Name;
use crate::wire::reply::Transport;

/// Fetches the answer to `miss`, whose question is `query`. Returns SERVFAIL if there is no answer.
pub async fn fetch(relay: &RelayHandle<Waiter>, query: AllowedQuery<'static>, miss: &Miss) -> Fetched {
    let (waiter, answer) = oneshot::channel();
    if relay.ask(query, miss.received, Waiter::Task(waiter)).is_ok() {
        relay.ring();
    }
    answer.await.unwrap_or_else(|_| Fetched::now(failure("too many pending queries")))
}

/// The answer of the local zones to `miss`. If a CNAME leads out of them, its target is looked up through `engine` and
/// `relay` as if the client had queried it.
pub async fn fetch_local(engine: &mut Engine, relay: &RelayHandle<Waiter>, miss: &Miss) -> LocalFetched {
    let over_tcp = miss.client.transport == Transport::Tcp;
    let found = engine.state().local.answer(miss.request(), miss.client.address, over_tcp).await;
    let LocalAnswer { message, leads_to } = match found {
        Ok(found) => found,
        Err(LocalFailure::NotHeld) => return failure("the local zone has no answer").into(),
        Err(LocalFailure::TooManyAliases) => {
            return Answer::failure(ErrorCode::OTHER, TOO_MANY_ALIASES, Lifetime::Unknown).into();
        }
    };
    let alone = Answer::parse(&message).unwrap_or_else(|_| failure("invalid answer from the local zone"));
    let Some(target) = leads_to else { return alone.into() };
    let mut reply = Vec::new();
    let Some(lookup) = look_up_target(engine, relay, miss, &target, &mut reply).await else {
        return alone.into();
    };
    let answer = match lookup.outcome() {
        TargetOutcome::Blocked => alone.with_error(ErrorCode::BLOCKED, "CNAME target not allowed"),
        TargetOutcome::Answered => join(&message, &reply)
            .and_then(|message| Answer::parse(&message).ok())
            .unwrap_or_else(|| failure("invalid answer for the CNAME target")),
        TargetOutcome::Failed => {
            Answer::parse(&reply).unwrap_or_else(|_| failure("no answer for the CNAME target"))
        }
    };
    LocalFetched { answer, target: Some(lookup) }
}

/// Looks up a CNAME target for the client of `miss`, and writes the client's reply for it into `reply`. `None` if the client did not set RD, or the lookup gives no reply.
async fn look_up_target(
    engine: &mut Engine,
    relay: &RelayHandle<Waiter>,
    miss: &Miss,
    target: &Name,
    reply: &mut Vec<u8>,
) -> Option<TargetLookup> {
    let request = miss.request_for(target)?;
    let mut generation = engine.state().policies.generation();
    let record = match engine.answer_target(&request, miss, reply) {
        Outcome::Reply(record) => record,
        Outcome::Refresh(record, query) => {
            relay.refresh(query, miss.received);
            relay.ring();
            record
        }
        Outcome::Fetch(miss, query) => {
            let fetched = fetch(relay, query, &miss).await;
            generation = engine.state().policies.generation();
            miss.finish(engine, &fetched, Instant::now(), reply)
        }
        Outcome::Local(_) | Outcome::Silence => return None,
    };
    Some(TargetLookup { record, generation })
}

/// EDE text for a CNAME chain that does not end.
const TOO_MANY_ALIASES: &str = "CNAME chain too long, possibly a loop";

fn failure(text: &str) -> Answer {
    Answer::failure(ErrorCode::NOT_READY, text, Lifetime::Unknown)
}
