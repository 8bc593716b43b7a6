//! How a task gets an answer: from a local zone, or through the relay.

use tokio::sync::oneshot;

use crate::gate::{Miss, State};
use crate::listen::delivery::Waiter;
use crate::policy::AllowedQuery;
use crate::upstream::Fetched;
use crate::upstream::relay::Asker;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::ErrorCode;
use crate::wire::reply::Transport;

/// Fetches the answer to `miss`, whose question is `query`. There always is one: SERVFAIL where nobody has any.
pub async fn fetch(relay: &Asker<Waiter>, query: AllowedQuery<'static>, miss: &Miss) -> Fetched {
    let (waiter, answer) = oneshot::channel();
    if relay.ask(query, miss.received, Waiter::Task(waiter)).is_ok() {
        relay.ring();
    }
    answer.await.unwrap_or_else(|_| Fetched::now(failure("too many queries wait for an upstream")))
}

/// The answer that a local zone has to `miss`.
pub async fn fetch_local(state: &State, miss: &Miss) -> Answer {
    let over_tcp = miss.client.transport == Transport::Tcp;
    let message = state.local.answer(miss.request(), miss.client.address, over_tcp).await;
    match message.as_deref().map(Answer::parse) {
        Some(Ok(answer)) => answer,
        _ => failure("the local zone has no answer"),
    }
}

fn failure(text: &str) -> Answer {
    Answer::failure(ErrorCode::NOT_READY, text, Lifetime::Unknown)
}
