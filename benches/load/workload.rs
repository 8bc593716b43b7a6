//! [`Workload`]: the queries to send, and the reply expected for each.

use std::io::Write as _;

use clap::ValueEnum;

use super::random::Random;

/// Suffixes that every server under test allows, with everything below them.
pub(crate) const SUFFIXES: [&str; 6] = [
    "azureml.ms",
    "azurecr.io",
    "blob.core.windows.net",
    "vault.azure.net",
    "login.microsoftonline.com",
    "pypi.org",
];

/// Names queried again and again, as by a few hundred machines that run the same software.
const CACHED_NAMES: usize = 1_000;
/// Names that no rule allows. More than the cached ones, since blocked names vary most between machines.
const BLOCKED_NAMES: usize = 10_000;
/// Cached names per ten mixed queries.
const CACHED_OF_TEN: usize = 7;

/// The expected reply to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// NXDOMAIN.
    Blocked,
    /// NOERROR with the upstream's address.
    Answered,
    /// The same, or SERVFAIL: the upstream may be down.
    AnsweredOrFailed,
    /// This response code, whatever the rest of the reply.
    Code(u8),
    /// No reply.
    Nothing,
}

/// Kinds of traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Traffic {
    /// Names that no rule allows.
    Blocked,
    /// Allowed names that were queried before.
    Cached,
    /// Seven cached names to three blocked ones.
    Mixed,
    /// Allowed names, each queried once.
    Miss,
}

/// An endless sequence of numbered, pre-encoded queries.
pub(crate) struct Workload {
    questions: Vec<(Vec<u8>, Expected)>,
    asked: u64,
    unique: bool,
}

impl Workload {
    /// Traffic for a server that allows [`SUFFIXES`].
    pub(crate) fn new(traffic: Traffic) -> Self {
        let names: Vec<(String, Expected)> = match traffic {
            Traffic::Blocked => blocked_names().map(|name| (name, Expected::Blocked)).collect(),
            Traffic::Cached => cached_names().map(|name| (name, Expected::Answered)).collect(),
            Traffic::Mixed => {
                let mut cached = cached_names().map(|name| (name, Expected::Answered)).cycle();
                let blocked = blocked_names().map(|name| (name, Expected::Blocked)).enumerate();
                blocked
                    .flat_map(|(index, blocked)| {
                        // Three of every ten queries are blocked ones, not always at the same positions.
                        let before = CACHED_OF_TEN / 3 + usize::from(index % 3 == 0);
                        cached.by_ref().take(before).chain([blocked]).collect::<Vec<_>>()
                    })
                    .collect()
            }
            Traffic::Miss => {
                let place = "0".repeat(COUNTER.len());
                SUFFIXES.map(|suffix| (format!("q{place}.{suffix}"), Expected::Answered)).into()
            }
        };
        Self { unique: traffic == Traffic::Miss, ..Self::of(names) }
    }

    /// Queries these names in turn.
    pub(crate) fn of(names: impl IntoIterator<Item = (String, Expected)>) -> Self {
        Self::of_messages(names.into_iter().map(|(name, expected)| (query(&name), expected)))
    }

    /// Starts after number `asked`, so that unique names differ from those of smaller numbers.
    pub(crate) fn after(self, asked: u64) -> Self {
        Self { asked, ..self }
    }

    /// Sends these messages in turn, whatever they are.
    pub(crate) fn of_messages(messages: impl IntoIterator<Item = (Vec<u8>, Expected)>) -> Self {
        Self { questions: messages.into_iter().collect(), asked: 0, unique: false }
    }

    /// The same queries when the upstream may be down.
    pub(crate) fn may_fail(mut self) -> Self {
        for (_, expected) in &mut self.questions {
            *expected = Expected::AnsweredOrFailed;
        }
        self
    }

    /// The same queries to a server that always answers NXDOMAIN.
    pub(crate) fn all_blocked(mut self) -> Self {
        for (_, expected) in &mut self.questions {
            *expected = Expected::Blocked;
        }
        self
    }

    /// Replaces `message` with the next query, with id 0; returns its number and the expected reply.
    pub(crate) fn write_next(&mut self, message: &mut Vec<u8>) -> (u64, Expected) {
        self.asked += 1;
        (self.asked, self.write(self.asked, message))
    }

    /// Replaces `message` with query number `number`, with id 0; returns the expected reply.
    pub(crate) fn write(&self, number: u64, message: &mut Vec<u8>) -> Expected {
        let (question, expected) = &self.questions[(number % self.questions.len() as u64) as usize];
        message.clear();
        message.extend_from_slice(question);
        if self.unique {
            // A ten-digit number fills its slot; a longer one, after hours, would be cut off and repeat names.
            let _ = write!(&mut message[COUNTER], "{number:010}");
        }
        *expected
    }
}

/// Position of the number in a unique name: after the header, the first label's length and its letter.
const COUNTER: std::ops::Range<usize> = 14..24;

fn cached_names() -> impl Iterator<Item = String> + Clone {
    (0..CACHED_NAMES).map(|index| format!("host-{index}.{}", SUFFIXES[index % SUFFIXES.len()]))
}

fn blocked_names() -> impl Iterator<Item = String> {
    let mut random = Random::new(1);
    (0..BLOCKED_NAMES).map(move |_| random.unlisted_name())
}

/// A query for the addresses of a name, recursion desired, with an OPT record of 1232 bytes (RFC 1035 4.1, RFC 6891 6.1).
pub(crate) fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
    }
    message.extend_from_slice(&[0, 0, 1, 0, 1]);
    message.extend_from_slice(&OPT);
    message
}

/// An OPT record without options, for 1232 bytes.
pub(crate) const OPT: [u8; 11] = [0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0];
