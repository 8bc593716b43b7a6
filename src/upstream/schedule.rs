//! [`ServerSchedule`]: the order in which servers are tried for one query.

/// Exchanges per query at most: bounds the extra queries that a silent or failing upstream causes.
const MAX_ATTEMPTS: usize = 3;

/// Servers in the order to try them, and their state so far.
#[derive(Debug)]
pub(super) struct ServerSchedule {
    servers: Vec<Candidate>,
    begun: usize,
    next: usize,
}

#[derive(Debug)]
struct Candidate {
    index: usize,
    asked: bool,
    said_no: bool,
}

impl ServerSchedule {
    /// Starts with the first of `order`, a list of server indices.
    pub(super) fn new(order: impl IntoIterator<Item = usize>) -> Self {
        let candidate = |index| Candidate { index, asked: false, said_no: false };
        Self { servers: order.into_iter().map(candidate).collect(), begun: 0, next: 0 }
    }

    /// Starts after server `first` was already queried, wherever it is in `order`.
    pub(super) fn begun(first: usize, order: impl IntoIterator<Item = usize>) -> Self {
        let mut turn =
            Self::new(std::iter::once(first).chain(order.into_iter().filter(|index| *index != first)));
        turn.take();
        turn
    }

    /// True if another attempt is possible.
    pub(super) fn has_next(&self) -> bool {
        self.begun < MAX_ATTEMPTS && self.servers.iter().any(|server| !server.said_no)
    }

    /// The next server to query: in order, then from the first again, without those that failed.
    pub(super) fn upcoming(&self) -> Option<usize> {
        self.place().map(|place| self.servers[place].index)
    }

    fn place(&self) -> Option<usize> {
        if !self.has_next() {
            return None;
        }
        let count = self.servers.len();
        (0..count).map(|step| (self.next + step) % count).find(|place| !self.servers[*place].said_no)
    }

    /// Takes the next server and marks it as queried.
    pub(super) fn take(&mut self) -> Option<usize> {
        let place = self.place()?;
        self.next = (place + 1) % self.servers.len();
        self.begun += 1;
        self.servers[place].asked = true;
        Some(self.servers[place].index)
    }

    /// The server reported a failure or is unreachable: skipped from now on.
    pub(super) fn said_no(&mut self, index: usize) {
        self.servers
            .iter_mut()
            .filter(|server| server.index == index)
            .for_each(|server| server.said_no = true);
    }

    /// The query was not sent after all, because of a local error, so it does not count as an attempt. `again`: whether
    /// another try is worthwhile.
    pub(super) fn was_not_asked(&mut self, index: usize, again: bool) {
        self.begun = self.begun.saturating_sub(1);
        if !again {
            self.said_no(index);
        }
    }

    /// True if an attempt is left and some server has not been queried.
    pub(super) fn has_unasked(&self) -> bool {
        self.begun < MAX_ATTEMPTS && self.servers.iter().any(|server| !server.asked)
    }

    /// True if all servers failed, so no reply can still come.
    pub(super) fn all_said_no(&self) -> bool {
        self.servers.iter().all(|server| server.said_no)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(turn: &mut ServerSchedule) -> Vec<usize> {
        std::iter::from_fn(|| turn.take()).collect()
    }

    #[test]
    fn one_server_is_queried_again_until_it_fails() {
        assert_eq!(all(&mut ServerSchedule::new([0])), [0, 0, 0]);
        let mut turn = ServerSchedule::new([0]);
        assert_eq!(turn.take(), Some(0));
        turn.said_no(0);
        assert!(turn.all_said_no() && turn.take().is_none());
    }

    #[test]
    fn first_server_counts_as_queried() {
        let mut turn = ServerSchedule::begun(2, [0, 1, 2]);
        assert!(turn.has_unasked());
        assert_eq!(all(&mut turn), [0, 1]);
        assert_eq!(all(&mut ServerSchedule::begun(0, [0])), [0, 0]);
    }

    #[test]
    fn who_said_no_is_left_out() {
        let mut turn = ServerSchedule::new([1, 0]);
        assert_eq!(turn.take(), Some(1));
        assert!(turn.has_unasked());
        turn.said_no(1);
        assert_eq!(all(&mut turn), [0, 0]);
        assert!(!turn.all_said_no());
    }

    #[test]
    fn attempts_are_bounded_whatever_the_number_of_servers() {
        let mut turn = ServerSchedule::new(0..9);
        assert_eq!(all(&mut turn), [0, 1, 2]);
        assert!(!turn.has_unasked());
        assert!(ServerSchedule::new([]).take().is_none());
    }

    #[test]
    fn unsent_query_does_not_count_as_attempt() {
        let mut turn = ServerSchedule::new([0, 1]);
        for _ in 0..9 {
            let index = turn.take();
            assert!(index.is_some());
            turn.was_not_asked(index.unwrap_or_default(), true);
        }
        assert_eq!(all(&mut turn), [1, 0, 1], "all attempts remain");
        turn.was_not_asked(1, false);
        assert_eq!(all(&mut turn), [0], "an unreachable server is skipped");
    }
}
