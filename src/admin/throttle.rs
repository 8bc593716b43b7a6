//! [`ErrorThrottle`]: limits repeated error lines, so that clients cannot fill the log.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::util::sync::lock;

/// Shortest time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

/// Admits at most one line per [`PAUSE`], and counts the lines left out.
#[derive(Debug, Default)]
pub(super) struct ErrorThrottle {
    last: Mutex<Option<(Instant, u64)>>,
}

impl ErrorThrottle {
    /// The number of lines left out since the last one; none if this line must be left out too.
    pub(super) fn admit(&self, now: Instant) -> Option<u64> {
        let mut last = lock(&self.last);
        match &mut *last {
            Some((told, left_out)) if now.saturating_duration_since(*told) < PAUSE => {
                *left_out += 1;
                None
            }
            last => Some(last.replace((now, 0)).map_or(0, |(_, left_out)| left_out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_tells_of_those_left_out() {
        let (throttle, start) = (ErrorThrottle::default(), Instant::now());
        let at = |second| throttle.admit(start + Duration::from_secs(second));
        assert_eq!(
            [at(0), at(1), at(9), at(10), at(25), at(26)],
            [Some(0), None, None, Some(2), Some(0), None]
        );
    }
}
