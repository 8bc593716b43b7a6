//! First attempts, which the relay sends itself over UDP, and what follows them.

use std::sync::Arc;

use futures_util::future::{FutureExt, ready};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::asker::{Deliver, RelayResult};
use super::doorbell::DOORBELL;
use super::port::PortId;
use super::stale::CLIENT_PATIENCE;
use super::{Relay, pop_due};
use crate::policy::AllowedQuery;
use crate::relay::pending_table::{Asked, RelayAttempt, Ticket};
use crate::upstream::accept::{Channel, Judgement, SentQuery, judge};
use crate::upstream::server::ExchangeGuard;
use crate::upstream::server_stats::Rejection;
use crate::upstream::{ASK_NEXT_AFTER, ExchangeError, FirstAttempt, UpstreamQuery, is_failure, letter_case};
use crate::wire::answer::Answer;
use crate::wire::header::{Flags, Header};
use crate::wire::request;

/// Receive calls on one port before other ports are read.
const MAX_CALLS: usize = 16;

impl<D: Deliver> Relay<D> {
    /// Makes a query pending and queries the first server, or hands it to a task.
    pub(super) fn begin(
        &mut self,
        query: AllowedQuery<'static>,
        received: std::time::Instant,
        waiter: Option<D::Waiter>,
    ) {
        let now = self.now;
        let upstream = Arc::clone(self.state.load().upstreams.route(query.route()));
        let deadline = Instant::from_std(received + upstream.config().deadline);
        let ready = upstream.ready(query.holder(), now, deadline);
        if ready.is_none() && waiter.is_none() {
            // A refresh is not worth waiting for a slot.
            return;
        }
        let port = ready
            .as_ref()
            .and_then(|(index, _)| self.ports.pick(&upstream.servers()[*index], &self.poll, now));
        let ticket = self.pending.begin(query, upstream, deadline.into_std(), waiter);
        if !self.state.load().cache.lifetimes().max_stale.is_zero() {
            self.stale_due.push_back((now + CLIENT_PATIENCE, ticket));
        }
        let (Some((index, permit)), Some(port)) = (ready, port) else {
            return self.hand_over(ticket, None);
        };
        let Some(asked) = self.pending.in_flight.get_mut(ticket) else { return };
        let case = letter_case(asked.upstream.config().randomize_case);
        let server = &asked.upstream.servers()[index];
        let edns = server.stats.has_edns(now);
        let id = self.ports.write(port, ticket, |message, id| {
            request::write_in_case(message, id, asked.query.question(), asked.query.flags(), case, edns);
        });
        let ending = ExchangeGuard::new(server, now, permit);
        asked.attempt = id.map(|id| RelayAttempt { index, port, id, case, edns, ending, report: None });
        self.silent.push_back(((now + ASK_NEXT_AFTER).min(deadline), ticket));
    }

    /// Sends the queries written so far. A query that this host cannot send is retried by a task: the error says
    /// nothing about the server.
    pub(super) fn send(&mut self) {
        for (ticket, error) in self.ports.flush() {
            self.first_ended(ticket, Err(ExchangeError::Local(error)));
        }
    }

    /// Reads every readable socket.
    pub(super) fn receive(&mut self) {
        let mut ready = std::mem::take(&mut self.unread);
        let events = self.events.iter().filter(|event| event.token() != DOORBELL);
        ready.extend(events.map(|event| PortId::from(event.token())));
        for port in ready {
            let mut calls = 0;
            while let Some(received) = self.ports.receive(port) {
                match received {
                    Ok(count) => (0..count).for_each(|index| self.read(port, index)),
                    Err(_) => self.hinted(port),
                }
                calls += 1;
                if calls == MAX_CALLS {
                    // A flood at one port must not block everything else. The rest is read in the next loop iteration.
                    self.unread.push(port);
                    self.shared.doorbell.note();
                    break;
                }
            }
        }
    }

    /// Judges one datagram received on `port`.
    fn read(&mut self, port: PortId, index: usize) {
        let Some((server, bytes)) = self.ports.received(port, index) else { return };
        let Some((ticket, id, asked)) = Header::parse(bytes)
            .filter(|header| header.flags.has(Flags::QR))
            .and_then(|header| Some((header.id, self.ports.find(port, header.id)?)))
            .and_then(|(id, ticket)| Some((ticket, id, self.pending.in_flight.get(ticket)?)))
        else {
            return server.stats.rejected(strange(bytes));
        };
        let (case, edns) =
            asked.attempt.as_ref().map_or((None, true), |attempt| (attempt.case, attempt.edns));
        match judge(bytes, SentQuery { id, question: asked.query.question(), case, edns }, Channel::Datagram)
        {
            Judgement::Answer(answer) => {
                server.note_edns(edns, &answer, self.now);
                self.first_ended(ticket, Ok(answer));
            }
            Judgement::EdnsRefused => self.ask_without_edns(ticket, port, id),
            Judgement::Unusable => self.first_ended(ticket, Err(ExchangeError::Unusable)),
            Judgement::Reject(reason) => server.note_rejected(reason),
            Judgement::RetryOverTcp => {
                if let Some(attempt) = self.pending.in_flight.end_attempt(ticket) {
                    self.ports.release(port, id, &self.poll);
                    self.go_on_over_tcp(ticket, attempt);
                }
            }
        }
    }

    /// The server of `ticket` rejects EDNS: queries it once more without EDNS.
    fn ask_without_edns(&mut self, ticket: Ticket, port: PortId, id: u16) {
        let Some(mut attempt) = self.pending.in_flight.end_attempt(ticket) else { return };
        self.ports.release(port, id, &self.poll);
        let port = self.ports.pick(attempt.ending.server(), &self.poll, self.now);
        let Some(asked) = self.pending.in_flight.get_mut(ticket) else { return };
        let id = port.and_then(|port| {
            self.ports.write(port, ticket, |message, id| {
                let (question, flags) = (asked.query.question(), asked.query.flags());
                request::write_in_case(message, id, question, flags, attempt.case, false);
            })
        });
        attempt.edns = false;
        let is_sent = port.zip(id).is_some_and(|(port, id)| {
            (attempt.port, attempt.id) = (port, id);
            true
        });
        asked.attempt = Some(attempt);
        if !is_sent {
            self.first_ended(ticket, Err(ExchangeError::EdnsRefused));
        }
    }

    /// ICMP reports that datagrams of `port` do not arrive. Anyone who guesses the port can forge that, so the attempt
    /// keeps waiting, and other servers are queried as well.
    fn hinted(&mut self, port: PortId) {
        if !self.ports.take_hint(port, self.now) {
            return;
        }
        for ticket in self.ports.asked_through(port) {
            let asked = self.pending.in_flight.get(ticket);
            if asked.is_some_and(|asked| asked.upstream.servers().len() > 1) {
                self.ask_others(ticket, self.now);
            }
        }
    }

    /// Ends the first attempt for `ticket` with `outcome`.
    fn first_ended(&mut self, ticket: Ticket, outcome: Result<Answer, ExchangeError>) {
        let Some(attempt) = self.pending.in_flight.end_attempt(ticket) else { return };
        self.ports.release(attempt.port, attempt.id, &self.poll);
        let (index, started, name) =
            (attempt.index, attempt.ending.started(), Arc::clone(attempt.ending.server().name()));
        let outcome = attempt.ending.note(outcome, self.now);
        if let Some(report) = attempt.report {
            // The task may have ended already with another answer.
            let _ = report.send(outcome);
            return;
        }
        match outcome {
            Ok(answer) if !is_failure(&answer) => self.end(ticket, answer, Some(name)),
            outcome => {
                let (ask_next_at, outcome) = (started + ASK_NEXT_AFTER, ready(outcome).boxed());
                self.hand_over(ticket, Some(FirstAttempt { server: index, started, ask_next_at, outcome }));
            }
        }
    }

    fn go_on_over_tcp(&mut self, ticket: Ticket, attempt: RelayAttempt) {
        let Some(asked) = self.pending.in_flight.get(ticket) else { return };
        let (prompt, deadline) = (prompt(asked), asked.deadline);
        let (index, started, report) = (attempt.index, attempt.ending.started(), attempt.report);
        let server = Arc::clone(attempt.ending.server());
        let exchange = async move { server.go_on_over_tcp(&prompt, deadline, attempt.ending).await };
        match report {
            Some(report) => {
                self.runtime.spawn(async move { report.send(exchange.await) });
            }
            None => {
                let (ask_next_at, outcome) = (started + ASK_NEXT_AFTER, exchange.boxed());
                let first = FirstAttempt { server: index, started, ask_next_at, outcome };
                self.hand_over(ticket, Some(first));
            }
        }
    }

    /// Hands `ticket` to a task, which continues from `first`.
    fn hand_over(&mut self, ticket: Ticket, first: Option<FirstAttempt>) {
        let Some(asked) = self.pending.in_flight.get(ticket) else { return };
        let (upstream, deadline, prompt) = (Arc::clone(&asked.upstream), asked.deadline, prompt(asked));
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let (answer, upstream) = upstream.ask(&prompt, deadline, first).await;
            shared.found.push(RelayResult { ticket, answer, upstream });
            shared.doorbell.ring();
        });
    }

    /// Starts a task, once per ticket, that queries other servers for `ticket` from `at` on. The first attempt
    /// continues.
    fn ask_others(&mut self, ticket: Ticket, at: Instant) {
        let Some(asked) = self.pending.in_flight.get_mut(ticket) else { return };
        let deadline = asked.deadline;
        let Some(attempt) = asked.attempt.as_mut().filter(|attempt| attempt.report.is_none()) else { return };
        let (report, reported) = oneshot::channel();
        attempt.report = Some(report);
        let (server, started) = (attempt.index, attempt.ending.started());
        let outcome = async move {
            match timeout_at(deadline, reported).await {
                Ok(Ok(outcome)) => outcome,
                _ => Err(ExchangeError::Timeout),
            }
        };
        let outcome = outcome.boxed();
        self.hand_over(ticket, Some(FirstAttempt { server, started, ask_next_at: at, outcome }));
    }

    /// Starts other attempts for first attempts that were silent too long, and sends stale answers to clients that
    /// have waited too long.
    pub(super) fn time_out(&mut self) {
        let now = self.now;
        while let Some(ticket) = pop_due(&mut self.silent, now) {
            self.ask_others(ticket, now);
        }
        while let Some(ticket) = pop_due(&mut self.stale_due, now) {
            self.answer_stale(ticket);
        }
    }
}

/// Why a datagram that matches no pending query is rejected.
fn strange(bytes: &[u8]) -> Rejection {
    match Header::parse(bytes) {
        None => Rejection::Short,
        Some(header) if !header.flags.has(Flags::QR) => Rejection::NotResponse,
        Some(_) => Rejection::Id,
    }
}

fn prompt(Asked { query, upstream, .. }: &Asked) -> UpstreamQuery {
    let randomize_case = upstream.config().randomize_case;
    UpstreamQuery {
        question: query.question().clone(),
        flags: query.flags(),
        client: query.holder(),
        randomize_case,
    }
}
