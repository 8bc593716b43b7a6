//! [`PendingQueries`]: the relay's decisions about questions and answers, without sockets, tasks or a clock.

use std::sync::Arc;
use std::time::Instant;

use super::stale;
use crate::cache::HitBuffer;
use crate::engine::State;
use crate::events::counters::Dropped;
use crate::policy::{AllowedQuery, Policies, Verdict};
use crate::relay::pending_table::{Asked, PendingTable, Ticket, Waiters};
use crate::upstream::budget::MAX_WAITING;
use crate::upstream::{Fetched, Upstream};
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::ErrorCode;

/// Every question in flight, with the waiters `W` for it.
pub struct PendingQueries<W> {
    pub(super) in_flight: PendingTable<W>,
    kept: HitBuffer,
}

/// The decision about a question.
pub enum Taken<W> {
    /// Answered at once.
    Answered(W, Fetched),
    /// Refused, for this reason.
    Refused(W, Dropped),
    /// Joined an identical question in flight.
    Shared,
    /// Must be sent upstream as this query; [`PendingQueries::begin`] then puts it in flight.
    Ask(AllowedQuery<'static>, Option<W>),
}

/// A question that has ended.
pub struct Ended<W> {
    pub(super) asked: Asked,
    /// The answer to deliver.
    pub fetched: Fetched,
    /// The waiters, each with its client.
    pub waiters: Waiters<W>,
}

impl<W> PendingQueries<W> {
    /// Nothing in flight.
    pub fn new() -> Self {
        Self { in_flight: PendingTable::new(), kept: HitBuffer::new() }
    }

    /// Decides about a question: answers it at once, joins a question in flight, or says that it must be sent upstream.
    pub fn take(
        &mut self,
        state: &State,
        query: AllowedQuery<'static>,
        waiter: Option<W>,
        now: Instant,
    ) -> Taken<W> {
        let Some(query) = renewed(&state.policies, query, now) else {
            // The reply is made from the new verdict; nothing is sent upstream.
            return match waiter {
                Some(waiter) => {
                    Taken::Answered(waiter, failure("the policy changed during this query; retry"))
                }
                None => Taken::Shared,
            };
        };
        let found = self.in_flight.find(&query);
        let Some(waiter) = waiter else {
            return if found.is_some() { Taken::Shared } else { Taken::Ask(query, None) };
        };
        let (waiting, client) = (self.in_flight.waiting(), query.holder());
        let free = state.limits.in_flight.saturating_sub(waiting.total());
        if free == 0 {
            return Taken::Refused(waiter, Dropped::Overload);
        }
        // One client may hold as many slots as it leaves free.
        if waiting.of(client) >= state.limits.in_flight_per_client.min(free) {
            return Taken::Refused(waiter, Dropped::ClientOverload);
        }
        if let Some(ticket) = found {
            let is_overdue = self.in_flight.get(ticket).is_some_and(|asked| asked.is_overdue);
            if is_overdue && let Some(hit) = state.cache.get_stale(&query, now, &mut self.kept) {
                return Taken::Answered(waiter, stale::fetched(&hit, now));
            }
            return match self.in_flight.join(ticket, client, waiter, MAX_WAITING) {
                Ok(()) => Taken::Shared,
                Err(waiter) => Taken::Answered(waiter, failure("too many pending queries for this name")),
            };
        }
        // The exchange that this query would have joined may have ended between its cache miss and now.
        if let Some(hit) = state.cache.get(&query, now, &mut self.kept) {
            return Taken::Answered(waiter, stale::fetched(&hit, now));
        }
        Taken::Ask(query, Some(waiter))
    }

    /// Puts a question in flight on `upstream` until `deadline`.
    pub fn begin(
        &mut self,
        query: AllowedQuery<'static>,
        upstream: Arc<Upstream>,
        deadline: Instant,
        waiter: Option<W>,
    ) -> Ticket {
        self.in_flight.begin(
            Asked { query, upstream, deadline: deadline.into(), is_overdue: false, attempt: None },
            waiter,
        )
    }

    /// Ends a question with `answer`. `upstream` sent it; `None` means that no server answered. Caches the answer if
    /// allowed, or replaces a failure with a better cached answer. Returns `None` if the question has already ended.
    pub fn end(
        &mut self,
        state: &State,
        ticket: Ticket,
        answer: Answer,
        upstream: Option<Arc<str>>,
        now: Instant,
    ) -> Option<Ended<W>> {
        let (asked, waiters) = self.in_flight.end(ticket)?;
        let mut fetched = Fetched { answer: Arc::new(answer), received: now, upstream, is_stale: false };
        // A reload may have removed from the cache names that it blocks or routes elsewhere. Do not add them again.
        if is_still_good(state, &asked, now) {
            match stale::instead_of(&fetched, state, &asked.query, now, &mut self.kept) {
                Some(stale) => fetched = stale,
                None => state.cache.insert(&asked.query, fetched.answer.as_ref().as_ref(), now),
            }
        }
        Some(Ended { asked, fetched, waiters })
    }

    /// Returns the waiters of `ticket` with a stale answer, if there is one; the question stays in flight. From now on,
    /// identical questions get the stale answer at once.
    pub fn give_up_waiting(
        &mut self,
        state: &State,
        ticket: Ticket,
        now: Instant,
    ) -> Option<(Fetched, Waiters<W>)> {
        let asked = self.in_flight.get_mut(ticket)?;
        asked.is_overdue = true;
        let hit = state.cache.get_stale(&asked.query, now, &mut self.kept)?;
        Some((stale::fetched(&hit, now), self.in_flight.take_waiters(ticket)))
    }
}

impl<W> Default for PendingQueries<W> {
    fn default() -> Self {
        Self::new()
    }
}

fn failure(text: &str) -> Fetched {
    Fetched::now(Answer::failure(ErrorCode::NOT_READY, text, Lifetime::Unknown))
}

/// True if the verdict needs no second look: same policy, and no grant with an end time.
fn holds(policies: &Policies, query: &AllowedQuery<'_>) -> bool {
    query.generation() == policies.generation() && !query.is_for_a_time()
}

/// The query under the policy in force: renewed if the policy has changed since the verdict or a grant may have
/// expired; `None` if it is no longer allowed.
///
/// Also `None` if the route has changed. The waiters compare the answer with the route they asked for, and would accept
/// one from another route as their own once the name uses their route again.
fn renewed(policies: &Policies, query: AllowedQuery<'static>, now: Instant) -> Option<AllowedQuery<'static>> {
    if holds(policies, &query) {
        return Some(query);
    }
    let group = policies.group(query.client())?;
    match policies.decide((query.client(), group), query.question(), query.flags(), now) {
        Verdict::Allowed(renewed, _) | Verdict::Observed(renewed, _) => Some(renewed)
            .filter(|renewed| renewed.route() == query.route())
            .map(|renewed| renewed.into_owned().proven(query.is_proven())),
        _ => None,
    }
}

/// True if the name is still allowed and uses the same servers.
fn is_still_good(state: &State, asked: &Asked, now: Instant) -> bool {
    if holds(&state.policies, &asked.query) {
        return true;
    }
    renewed(&state.policies, asked.query.clone(), now)
        .is_some_and(|query| state.upstreams.route(query.route()).is_same(&asked.upstream))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::policy::clients::GroupId;
    use crate::policy::route::{Route, RouteId, Routes};
    use crate::policy::rule::{Action, Pattern};
    use crate::policy::temporary::{Grant, Temporary};
    use crate::policy::{Compile, Mode, PolicyBuilder};
    use crate::wire::code::{Class, Type};
    use crate::wire::name::Name;
    use crate::wire::query::Question;
    use crate::wire::request::AnswerFlags;

    /// Policies that allow or deny `a.example`, with the given route.
    fn policies(generation: u64, action: Action, route: Route) -> Policies {
        let pattern = Pattern::parse("a.example").unwrap();
        let mut builder = PolicyBuilder::new();
        let source = builder.source("test", "test.toml");
        builder.rule(action, &pattern, source, 1);
        let routes = Arc::new(Routes::new([(&pattern, route)], []));
        let policy = builder.build(Compile { routes, ..Compile::new(Mode::Enforce) });
        let mut policies = Policies::for_all(policy, generation);
        policies.number_routes(vec![RouteId(0), RouteId(1)]);
        policies
    }

    #[test]
    fn an_answer_by_another_route_is_not_taken_after_two_reloads() {
        let (client, now) = (std::net::Ipv4Addr::LOCALHOST.into(), Instant::now());
        let name = Name::from_labels([&b"a"[..], b"example"]).unwrap();
        let question = Question { name, qtype: Type::A, class: Class::IN };
        let before = policies(1, Action::Allow, Route(0));
        let verdict = before.decide((client, GroupId::DEFAULT), &question, AnswerFlags::default(), now);
        let Verdict::Allowed(query, _) = verdict else { panic!("{verdict:?}") };
        let query = query.into_owned();
        for (action, route, is_renewed) in [
            (Action::Allow, Route(0), true),
            (Action::Allow, Route(1), false),
            (Action::Deny, Route(0), false),
        ] {
            let renewed = renewed(&policies(2, action, route), query.clone(), now);
            assert_eq!(renewed.is_some(), is_renewed, "{action:?} {route:?}");
            assert!(renewed.is_none_or(|renewed| renewed.generation() == 2));
        }
    }

    #[test]
    fn a_name_whose_time_is_over_is_asked_no_more() {
        let (client, now, time) = (std::net::Ipv4Addr::LOCALHOST.into(), Instant::now(), SystemTime::now());
        let grant = Grant {
            pattern: Pattern::parse("b.example").unwrap(),
            reason: String::new(),
            author: String::new(),
            since: time,
            until: time + Duration::from_secs(60),
        };
        let policies = policies(1, Action::Allow, Route(0));
        let policies = policies.with_temporary(Temporary::new([grant], now, time));
        let name = Name::from_labels([&b"b"[..], b"example"]).unwrap();
        let question = Question { name, qtype: Type::A, class: Class::IN };
        let verdict = policies.decide((client, GroupId::DEFAULT), &question, AnswerFlags::default(), now);
        let Verdict::Allowed(query, _) = verdict else { panic!("{verdict:?}") };
        let query = query.into_owned();
        for (seconds, is_renewed) in [(59, true), (61, false)] {
            let later = now + Duration::from_secs(seconds);
            assert_eq!(renewed(&policies, query.clone(), later).is_some(), is_renewed, "{seconds} s");
        }
    }
}
