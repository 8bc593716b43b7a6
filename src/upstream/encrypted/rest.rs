//! [`Rest`]: pauses queries to a server that answers with HTTP errors.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::util::sync::lock;

/// Errors in a row before a pause, if the server does not say how long to wait.
const PATIENCE: u32 = 3;

/// The first pause; it doubles with each further error.
const FIRST: Duration = Duration::from_secs(1);

/// The longest pause, whatever the server says.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause of one server.
#[derive(Debug, Default)]
pub(super) struct Rest(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    errors: u32,
    until: Option<Instant>,
    why: String,
}

impl Rest {
    /// Why queries are paused; `None` if they are not.
    pub(super) fn reason(&self) -> Option<String> {
        let state = self.lock();
        state.until.filter(|until| Instant::now() < *until).map(|_| state.why.clone())
    }

    /// The server answered with an error, and perhaps said when to retry (RFC 9110 section 10.2.3).
    pub(super) fn begin(&self, why: &str, again_after: Option<Duration>) {
        let mut state = self.lock();
        state.errors = state.errors.saturating_add(1);
        let own = state.errors.checked_sub(PATIENCE).map(|more| FIRST.saturating_mul(1 << more.min(10)));
        if let Some(time) = again_after.or(own) {
            state.until = Some(Instant::now() + time.min(LONGEST));
            state.why = format!("{why}; queries to it are paused");
        }
    }

    /// The server answered a query.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if state.errors > 0 {
            *state = State::default();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pause_lasts_as_long_as_the_server_says() {
        let rest = Rest::default();
        let passes = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        rest.begin("503", Some(Duration::from_secs(5)));
        passes(4).await;
        assert!(rest.reason().is_some_and(|why| why.starts_with("503")));
        passes(1).await;
        assert_eq!(rest.reason(), None);
        rest.end();
        for (errors, seconds) in [(1, 0), (2, 0), (3, 1), (4, 2), (5, 4)] {
            rest.begin("500", None);
            assert_eq!(rest.reason().is_some(), seconds > 0, "after {errors} errors");
            passes(seconds).await;
            assert_eq!(rest.reason(), None, "after {errors} errors and {seconds} s");
        }
        rest.begin("429", Some(Duration::from_secs(86_400)));
        passes(60).await;
        assert_eq!(rest.reason(), None, "no longer than a minute");
    }
}
