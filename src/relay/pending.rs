//! [`PendingQueries`]: the relay's decisions about queries and answers, without sockets, tasks or a clock.

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

/// The pending queries, each with the waiters `W` for its answer.
pub struct PendingQueries<W> {
    pub(super) in_flight: PendingTable<W>,
    hit_buffer: HitBuffer,
}

/// What to do with a new query.
pub enum Taken<W> {
    /// Answered now.
    Answered(W, Fetched),
    /// Dropped over a limit, for this reason.
    Refused(W, Dropped),
    /// Nothing to do: joined an identical pending query, or is a prefetch that is not needed.
    Shared,
    /// Must be sent upstream as this query; [`PendingQueries::begin`] then makes it pending.
    Ask(AllowedQuery<'static>, Option<W>),
}

/// A completed query.
pub struct Ended<W> {
    pub(super) asked: Asked,
    /// The answer to deliver.
    pub fetched: Fetched,
    /// The waiters, each with its client.
    pub waiters: Waiters<W>,
}

impl<W> PendingQueries<W> {
    /// No pending queries.
    pub fn new() -> Self {
        Self { in_flight: PendingTable::new(), hit_buffer: HitBuffer::new() }
    }

    /// Decides what to do with a query: answer it, drop it, join a pending query, or send it upstream.
    pub fn take(
        &mut self,
        state: &State,
        query: AllowedQuery<'static>,
        waiter: Option<W>,
        now: Instant,
    ) -> Taken<W> {
        let Some(query) = renewed(&state.policies, query, now) else {
            // Nothing is sent upstream. `Miss::finish` decides again and replaces this failure by the reply of the new
            // verdict.
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
        // A client may have at most as many waiting queries as there are free slots: alone, it gets half of them.
        if waiting.of(client) >= state.limits.in_flight_per_client.min(free) {
            return Taken::Refused(waiter, Dropped::ClientOverload);
        }
        if let Some(ticket) = found {
            let is_overdue = self.in_flight.get(ticket).is_some_and(|asked| asked.is_overdue);
            if is_overdue && let Some(hit) = state.cache.get_stale(&query, now, &mut self.hit_buffer) {
                return Taken::Answered(waiter, stale::fetched(&hit, now));
            }
            return match self.in_flight.join(ticket, client, waiter, MAX_WAITING) {
                Ok(()) => Taken::Shared,
                Err(waiter) => Taken::Answered(waiter, failure("too many pending queries for this name")),
            };
        }
        // The exchange that this query would have joined may have ended between its cache miss and now.
        if let Some(hit) = state.cache.get(&query, now, &mut self.hit_buffer) {
            return Taken::Answered(waiter, stale::fetched(&hit, now));
        }
        Taken::Ask(query, Some(waiter))
    }

    /// Adds a pending query to `upstream` until `deadline`.
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

    /// Completes a query with `answer` from `upstream` (`None`: no server answered). Caches the answer if allowed, or
    /// replaces a failure with a better cached answer. Returns `None` if the query was completed before.
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
            match stale::instead_of(&fetched, state, &asked.query, now, &mut self.hit_buffer) {
                Some(stale) => fetched = stale,
                None => state.cache.insert(&asked.query, fetched.answer.as_ref().as_ref(), now),
            }
        }
        Some(Ended { asked, fetched, waiters })
    }

    /// Returns the waiters of `ticket` with a stale answer, if the cache has one. The query stays pending. From now on,
    /// identical queries get the stale answer immediately.
    pub fn give_up_waiting(
        &mut self,
        state: &State,
        ticket: Ticket,
        now: Instant,
    ) -> Option<(Fetched, Waiters<W>)> {
        let asked = self.in_flight.get_mut(ticket)?;
        asked.is_overdue = true;
        let hit = state.cache.get_stale(&asked.query, now, &mut self.hit_buffer)?;
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

/// True if the verdict is still valid: the policy generation is the same, and a rule allows the name itself. Grants,
/// followed names and ancestors may expire while the query is pending.
fn holds(policies: &Policies, query: &AllowedQuery<'_>) -> bool {
    query.generation() == policies.generation() && !query.is_for_a_time()
}

/// The query, decided again if the policy has changed or its permission may have expired. `None` if it is no longer
/// allowed or uses another route.
///
/// Why the route must be the same: waiters check the answer's route against the route in their cache miss. If a second
/// reload restores the old route, they would accept an answer that came from another one.
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
    use crate::policy::temporary::{Grant, GrantScope, Temporary};
    use crate::policy::{Compile, Mode, NewRule, PolicyBuilder};
    use crate::wire::code::{Class, Type};
    use crate::wire::name::Name;
    use crate::wire::query::Question;
    use crate::wire::request::AnswerFlags;

    /// Policies that allow or deny `a.example`, with the given route.
    fn policies(generation: u64, action: Action, route: Route) -> Policies {
        let pattern = Pattern::parse("a.example").unwrap();
        let mut builder = PolicyBuilder::new();
        let source = builder.source("test", "test.toml");
        builder.rule(NewRule::new(action, &pattern, source, 1));
        let routes = Arc::new(Routes::new([(&pattern, route)], []));
        let policy = builder.build(Compile { routes, ..Compile::new(Mode::Enforce) });
        let mut policies = Policies::for_all(policy, generation);
        policies.number_routes(vec![RouteId(0), RouteId(1)]);
        policies
    }

    #[test]
    fn changed_route_or_policy_is_not_renewed() {
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
    fn expired_grant_sends_no_query() {
        let (client, now, time) = (std::net::Ipv4Addr::LOCALHOST.into(), Instant::now(), SystemTime::now());
        let grant = Grant {
            pattern: Pattern::parse("b.example").unwrap(),
            scope: GrantScope::All,
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
