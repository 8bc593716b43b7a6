//! [`FailureThrottle`]: what was said about a server lately, so that it is not said for every query.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::util::sync::lock;

/// Kinds of failures that are told of at all before the server is well again: servers choose the words.
const MAX_KINDS: usize = 8;

/// How long a failure is not told again, even where the server is well in between: a name that makes a server fail must
/// not fill the log.
const AT_LEAST: Duration = Duration::from_secs(60);

/// See the module's head.
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
    /// True where nothing like `text` was said since the server was last well.
    pub(super) fn is_new(&self, text: &str) -> bool {
        // The time or a port in it makes it no other.
        let kind: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
        let mut made = lock(&self.made);
        let is_new = made.kinds.len() < MAX_KINDS && !made.kinds.contains(&kind);
        if is_new {
            made.kinds.push(kind);
            made.since.get_or_insert_with(Instant::now);
        }
        is_new
    }

    /// The server is well.
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
    fn the_same_is_said_once_and_not_too_much_in_all() {
        let complaints = FailureThrottle::default();
        assert!(complaints.is_new("expired at 1700000000"));
        assert!(!complaints.is_new("expired at 1700000001"));
        complaints.clear();
        assert!(!complaints.is_new("expired at 1700000002"));
        let said = ('a'..='z').filter(|letter| complaints.is_new(&letter.to_string())).count();
        assert_eq!(said, MAX_KINDS - 1);
    }
}
