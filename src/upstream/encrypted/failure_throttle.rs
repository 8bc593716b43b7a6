//! [`FailureThrottle`]: limits repeated log lines about one server.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::util::sync::lock;

/// Kinds of failure logged before the server recovers. Limited because servers choose the text.
const MAX_KINDS: usize = 8;

/// Shortest time before a failure is logged again, even if the server recovers in between: a name that makes a server
/// fail must not fill the log.
const AT_LEAST: Duration = Duration::from_secs(60);

/// Limits repeated log lines about one server.
#[derive(Debug, Default)]
pub(super) struct FailureThrottle {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    kinds: Vec<String>,
    since: Option<Instant>,
}

impl FailureThrottle {
    /// True if no similar `text` was logged since the server last recovered.
    pub(super) fn is_new(&self, text: &str) -> bool {
        // A different time or port does not make it a new failure.
        let kind: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let mut made = lock(&self.made);
        let is_new = made.kinds.len() < MAX_KINDS && !made.kinds.contains(&kind);
        if is_new {
            made.kinds.push(kind);
            made.since.get_or_insert_with(Instant::now);
        }
        is_new
    }

    /// The server works again.
    pub(super) fn clear(&self) {
        let mut made = lock(&self.made);
        if made.since.is_some_and(|since| since.elapsed() >= AT_LEAST) {
            *made = Made::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_failures_are_logged_once_and_limited_in_total() {
        let complaints = FailureThrottle::default();
        assert!(complaints.is_new("expired at 1700000000"));
        assert!(!complaints.is_new("expired at 1700000001"));
        complaints.clear();
        assert!(!complaints.is_new("expired at 1700000002"));
        let said = ('a'..='z').filter(|letter| complaints.is_new(&letter.to_string())).count();
        assert_eq!(said, MAX_KINDS - 1);
    }
}
