//! [`Failure`]: the reply to the client if no upstream gave an answer.

use super::ExchangeError;
use crate::wire::answer::{Answer, Lifetime};
use crate::wire::code::{ErrorCode, Rcode};

/// Why an attempt brought no answer.
#[derive(Debug)]
pub(super) enum AttemptError {
    Shed,
    Exchange(ExchangeError),
}

/// The failures so far.
#[derive(Debug, Default)]
pub(super) struct Failure {
    reply: Option<Answer>,
    shed: bool,
    local: bool,
    network: bool,
    unusable: bool,
    timeout: bool,
}

impl Failure {
    /// Records a failed attempt.
    pub(super) fn note(&mut self, outcome: Result<Answer, AttemptError>) {
        match outcome {
            Ok(reply) => self.reply = Some(reply),
            Err(AttemptError::Shed) => self.shed = true,
            Err(AttemptError::Exchange(ExchangeError::Local(_))) => self.local = true,
            Err(AttemptError::Exchange(ExchangeError::Network(_))) => self.network = true,
            Err(AttemptError::Exchange(
                ExchangeError::Unusable | ExchangeError::Unwilling(_) | ExchangeError::EdnsRefused,
            )) => {
                self.unusable = true;
            }
            Err(AttemptError::Exchange(ExchangeError::Timeout)) => self.timeout = true,
        }
    }

    /// Relays an upstream's own SERVFAIL; otherwise reports which kind of failure it was.
    pub(super) fn into_answer(self) -> Answer {
        let (code, text, lifetime) = match self {
            Self { reply: Some(reply), .. } => match refusal(reply.as_ref().rcode()) {
                Some(text) => (ErrorCode::NO_REACHABLE_AUTHORITY, text, Lifetime::Failure),
                None => return reply,
            },
            Self { unusable: true, .. } => {
                (ErrorCode::NO_REACHABLE_AUTHORITY, "upstream sent an unusable reply", Lifetime::Failure)
            }
            Self { network: true, timeout: false, .. } => {
                (ErrorCode::NETWORK_ERROR, "no upstream could be reached", Lifetime::Failure)
            }
            // Nothing was sent. The next query may succeed, so this is not cached.
            Self { local: true, timeout: false, .. } => (
                ErrorCode::NETWORK_ERROR,
                "cannot send queries to upstreams from this host",
                Lifetime::Unknown,
            ),
            Self { shed: true, timeout: false, .. } => {
                (ErrorCode::NO_REACHABLE_AUTHORITY, "upstream query limit reached", Lifetime::Unknown)
            }
            _ => (ErrorCode::NO_REACHABLE_AUTHORITY, "no upstream answered in time", Lifetime::Failure),
        };
        Answer::failure(code, text, lifetime)
    }
}

/// The text that replaces a response code about our query to the upstream. To the client, the code would refer to its
/// own query, which is correct.
fn refusal(rcode: Rcode) -> Option<&'static str> {
    match rcode {
        Rcode::FORMERR => Some("the upstream answered FORMERR"),
        Rcode::NOTIMP => Some("the upstream answered NOTIMP"),
        Rcode::REFUSED => Some("the upstream answered REFUSED"),
        Rcode::NOTAUTH => Some("the upstream answered NOTAUTH"),
        _ => None,
    }
}
