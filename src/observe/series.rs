//! [`SeriesLimit`]: bounds how many label values become series, so that clients cannot create series without limit.

use std::time::{Duration, Instant};

use super::top::WINDOW;

/// Remembers which label values were exported in the last hour.
///
/// At most `size` values are exported at once, and at most twice as many in any hour. The first half is available
/// immediately; the second half is released evenly over the hour. A flood that uses up all values therefore keeps
/// others out for minutes, not for an hour.
#[derive(Debug)]
pub(super) struct SeriesLimit {
    /// Most values exported at once.
    size: usize,
    /// Values of the last hour, with the time of their last export.
    shown: Vec<(String, Instant)>,
    /// When the newest value was added.
    added: Option<Instant>,
}

impl SeriesLimit {
    /// Allows `size` values at once.
    pub(super) fn new(size: usize) -> Self {
        Self { size, shown: Vec::new(), added: None }
    }

    /// Returns the part of `frequent` (most frequent first) that is exported at `now`.
    pub(super) fn admit(&mut self, frequent: Vec<(String, u64)>, now: Instant) -> Vec<(String, u64)> {
        self.shown.retain(|(_, last)| now.saturating_duration_since(*last) < WINDOW);
        let first = frequent.into_iter().take(self.size);
        first.filter(|(value, _)| self.admit_one(value, now)).collect()
    }

    fn admit_one(&mut self, value: &str, now: Instant) -> bool {
        if let Some((_, last)) = self.shown.iter_mut().find(|(known, _)| known == value) {
            *last = now;
            return true;
        }
        if self.shown.len() >= self.allowed(now) {
            return false;
        }
        self.shown.push((value.to_owned(), now));
        self.added = Some(now);
        true
    }

    /// Number of different values allowed at `now`.
    fn allowed(&self, now: Instant) -> usize {
        let pause = WINDOW / u32::try_from(self.size).unwrap_or(u32::MAX).max(1);
        let since = self.added.map_or(Duration::MAX, |added| now.saturating_duration_since(added));
        match since >= pause {
            true => (self.shown.len() + 1).min(2 * self.size),
            false => self.size,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::config::Settings;
    use crate::observe::top::Top;

    const MINUTE: Duration = Duration::from_secs(60);

    fn values(list: &[&str]) -> Vec<(String, u64)> {
        list.iter().map(|value| ((*value).to_owned(), 9)).collect()
    }

    fn names(list: Vec<(String, u64)>) -> Vec<String> {
        list.into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn clients_with_ever_new_names_create_few_series() {
        let size = Settings::default().admin.top;
        let start = Instant::now();
        let (mut top, mut limit) = (Top::new(size, start), SeriesLimit::new(size));
        let mut last_shown = BTreeMap::<String, u64>::new();
        let mut ever = BTreeSet::new();
        // Every scrape sees new names on top, each with more lookups than all earlier ones.
        for second in (0..3 * 3600).step_by(15) {
            let now = start + Duration::from_secs(second);
            for number in 0..size {
                let weight = u32::try_from(10 + second).unwrap_or(u32::MAX);
                top.add(&format!("n{second}-{number}.example"), weight, now);
            }
            for name in names(limit.admit(top.heavy(now), now)) {
                last_shown.insert(name.clone(), second);
                ever.insert(name);
            }
            let within = last_shown.values().filter(|shown| **shown + 3600 > second).count();
            assert!(within <= 2 * size, "{within} names within the hour before {second} s");
        }
        assert!(ever.len() > size, "other names are exported later: {}", ever.len());
    }

    #[test]
    fn new_value_is_exported_at_once_if_slots_are_free() {
        let start = Instant::now();
        let mut limit = SeriesLimit::new(3);
        assert_eq!(names(limit.admit(values(&["a", "b"]), start)), ["a", "b"]);
        assert_eq!(names(limit.admit(values(&["new", "a", "b"]), start + MINUTE)), ["new", "a", "b"]);
        assert_eq!(
            limit.admit(values(&["a"]), start + MINUTE),
            [("a".to_owned(), 9)],
            "counts are unchanged"
        );
    }

    #[test]
    fn returning_value_uses_no_new_slot() {
        let start = Instant::now();
        let mut limit = SeriesLimit::new(1);
        for minute in 0..30 {
            let name = ["a", "b"][minute as usize % 2];
            // `b` would be the second value of the hour; its slot is not released yet.
            let shown = names(limit.admit(values(&[name]), start + minute * MINUTE));
            assert_eq!(shown.len(), usize::from(name == "a"), "{minute}");
        }
    }

    #[test]
    fn used_up_slots_delay_new_values_for_minutes() {
        let start = Instant::now();
        let mut limit = SeriesLimit::new(20);
        let flood: Vec<String> = (0..20).map(|number| format!("f{number}")).collect();
        let flood: Vec<&str> = flood.iter().map(String::as_str).collect();
        assert_eq!(limit.admit(values(&flood), start).len(), 20);
        let mut wanted = vec!["offender"];
        wanted.extend(&flood[1..]);
        assert_eq!(limit.admit(values(&wanted), start + MINUTE).len(), 19);
        assert_eq!(names(limit.admit(values(&wanted), start + 3 * MINUTE))[0], "offender");
    }

    #[test]
    fn size_zero_exports_nothing() {
        assert!(SeriesLimit::new(0).admit(values(&["a"]), Instant::now()).is_empty());
    }
}
