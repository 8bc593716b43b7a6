//! Answering a miss: from a local zone, or through an upstream.

use arc_swap::ArcSwap;

use crate::gate::{Miss, State, Target};
use crate::policy::{AllowedQuery, Verdict};
use crate::upstream::Fetched;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::{Class, ErrorCode, Type};
use crate::wire::name::Name;
use crate::wire::query::{Question, parse_question};
use crate::wire::reply::Transport;

/// Fetches the answer to `miss`. There always is one: SERVFAIL where nobody has any.
pub async fn fetch(current: &ArcSwap<State>, miss: &Miss) -> Fetched {
    let state = current.load_full();
    match &miss.target {
        Target::Upstream(query) if is_still_allowed(&state, query) => {
            // A reload that came meanwhile has emptied the cache of what it blocks.
            let may_keep = || is_still_allowed(&current.load(), query);
            let fetched = state.upstream.resolve(query, miss.received, &state.cache, may_keep).await;
            fetched.unwrap_or_else(|| {
                Fetched::now(failure(query.question(), "too many queries wait for this name"))
            })
        }
        // The reply will be made from the new verdict; nothing is sent for it.
        Target::Upstream(query) => Fetched::now(failure(query.question(), "the policy has changed")),
        Target::Local => Fetched::now(fetch_local(&state, miss).await),
    }
}

/// False where a reload since the verdict blocks the name.
fn is_still_allowed(state: &State, query: &AllowedQuery) -> bool {
    query.generation() == state.policy.generation()
        || matches!(
            state.policy.decide(query.question(), query.flags()),
            Verdict::Allowed(_) | Verdict::Observed(..)
        )
}

async fn fetch_local(state: &State, miss: &Miss) -> Answer {
    let over_tcp = miss.client.transport == Transport::Tcp;
    let message = state.local.answer(&miss.request, miss.client.address, over_tcp).await;
    match message.as_deref().map(Answer::parse) {
        Some(Ok(answer)) => answer,
        _ => {
            let nameless = || Question { name: Name::ROOT, qtype: Type(0), class: Class::IN };
            let question = parse_question(&miss.request).map_or_else(nameless, |(question, _)| question);
            failure(&question, "the local zone has no answer")
        }
    }
}

fn failure(question: &Question, text: &str) -> Answer {
    Answer::failure(question, ErrorCode::NOT_READY, text, Lifetime::Unknown)
}
