//! [`Ending`]: how an exchange ended, for the server's counts and its standing.

use std::sync::Arc;

use tokio::time::Instant;

use super::ExchangeError;
use super::budget::Permit;
use super::server::{ExchangeResult, Server};
use crate::wire::answer::{Answer, Lifetime};

/// Counts an exchange when it ends, also where it is dropped because another server answered first.
#[derive(Debug)]
pub(crate) struct Ending {
    server: Arc<Server>,
    started: Instant,
    result: ExchangeResult,
    _permit: Permit,
}

impl Ending {
    /// An exchange with `server` begins at `started`, by leave of `permit`.
    pub(crate) fn new(server: &Arc<Server>, started: Instant, permit: Permit) -> Self {
        Self { server: Arc::clone(server), started, result: ExchangeResult::Overtaken, _permit: permit }
    }

    /// The server that is asked.
    pub(crate) fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// When it was asked.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// The exchange ends at `now` with `outcome`, which is passed on.
    pub(crate) fn note(
        mut self,
        outcome: Result<Answer, ExchangeError>,
        now: Instant,
    ) -> Result<Answer, ExchangeError> {
        self.result = match &outcome {
            Ok(answer) if answer.as_ref().lifetime() == Lifetime::Failure => ExchangeResult::Failed,
            Ok(_) => ExchangeResult::Answered,
            Err(ExchangeError::Timeout) => ExchangeResult::Timeout,
            Err(ExchangeError::Network(_) | ExchangeError::Local(_)) => ExchangeResult::Network,
            Err(ExchangeError::Unusable | ExchangeError::Unwilling(_) | ExchangeError::EdnsRefused) => {
                ExchangeResult::Unusable
            }
        };
        let server = &self.server;
        match &outcome {
            Ok(_) | Err(ExchangeError::Unusable | ExchangeError::EdnsRefused) => {
                server.stats.durations.observe(now.saturating_duration_since(self.started));
                server.note_reply(now);
            }
            Err(ExchangeError::Network(error)) => server.note_failure(&error.to_string()),
            Err(ExchangeError::Unwilling(why)) => server.note_failure(why),
            Err(ExchangeError::Local(error)) => server.note_unsent(error, now),
            // One name that nobody answers says little about the server; the query tells it once.
            Err(ExchangeError::Timeout) => {}
        }
        outcome
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.server.stats.ended(self.result);
    }
}
