//! [`PendingQueries`]: what the relay decides of questions and their answers, without sockets, tasks or a clock.

use std::sync::Arc;
use std::time::Instant;

use super::stale;
use crate::cache::Kept;
use crate::engine::State;
use crate::events::counters::Dropped;
use crate::policy::{AllowedQuery, Policies, Verdict};
use crate::relay::pending_table::{Asked, PendingTable, Ticket, Waiters};
use crate::upstream::budget::MAX_WAITING;
use crate::upstream::{Fetched, Upstream};
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::ErrorCode;

/// Every question in flight, and who of the waiters `W` waits for it.
pub struct PendingQueries<W> {
    pub(super) in_flight: PendingTable<W>,
    kept: Kept,
}

/// What becomes of a question.
pub enum Taken<W> {
    /// There is an answer to it at once.
    Answered(W, Fetched),
    /// There is no place for who waits, for this reason.
    Refused(W, Dropped),
    /// It shares what is in flight already.
    Shared,
    /// It is to be asked, as this leave says; [`PendingQueries::begin`] then puts it in flight.
    Ask(AllowedQuery<'static>, Option<W>),
}

/// A question that has come to its end.
pub struct Ended<W> {
    pub(super) asked: Asked,
    /// The answer to be given.
    pub fetched: Fetched,
    /// To whom, and of which client.
    pub waiters: Waiters<W>,
}

impl<W> PendingQueries<W> {
    /// Nothing in flight.
    pub fn new() -> Self {
        Self { in_flight: PendingTable::new(), kept: Kept::new() }
    }

    /// Takes a question: answers at once what can be, adds to what is in flight, or says that it is to be asked.
    pub fn take(
        &mut self,
        state: &State,
        query: AllowedQuery<'static>,
        waiter: Option<W>,
        now: Instant,
    ) -> Taken<W> {
        let Some(query) = renewed(&state.policies, query, now) else {
            // The reply will be made from the new verdict; nothing is sent for it.
            return match waiter {
                Some(waiter) => Taken::Answered(waiter, failure("the policy has changed")),
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
        // One client may have as many places as it leaves free.
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
                Err(waiter) => Taken::Answered(waiter, failure("too many queries wait for this name")),
            };
        }
        // The exchange this query would have shared may have ended between its cache miss and now.
        if let Some(hit) = state.cache.get(&query, now, &mut self.kept) {
            return Taken::Answered(waiter, stale::fetched(&hit, now));
        }
        Taken::Ask(query, Some(waiter))
    }

    /// Puts a question in flight that `upstream` is asked until `deadline`.
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

    /// Ends a question with `answer`, which `upstream` gave or, without one, says that there is none: keeps it where it may
    /// be kept, or finds what is better than a failure. None where the question has ended before.
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
        // A reload that came meanwhile has emptied the cache of what it blocks, and of what other servers are asked for now.
        if is_still_good(state, &asked, now) {
            match stale::instead_of(&fetched, state, &asked.query, now, &mut self.kept) {
                Some(stale) => fetched = stale,
                None => state.cache.insert(&asked.query, fetched.answer.as_ref().as_ref(), now),
            }
        }
        Some(Ended { asked, fetched, waiters })
    }

    /// Those who wait for `ticket`, with what is stale for them, where there is any; the question stays in flight. Who asks the
    /// same from now on gets what is stale at once.
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

/// True where the verdict needs no second look: the policy is the same, and no time is set for the name.
fn holds(policies: &Policies, query: &AllowedQuery<'_>) -> bool {
    query.generation() == policies.generation() && !query.is_for_a_time()
}

/// The leave to ask as it is in force: another one, or none, where the policy has changed since the verdict, or the name's time is over.
///
/// There is none by another route. Who waits holds the answer against the route it asked for, and would take one that came
/// another way for its own once the name goes there again.
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

/// True where the name may still be asked, and of the same servers.
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

    /// Policies that allow `a.example`, or not, by a route of its own, or not.
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
