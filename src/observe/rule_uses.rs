//! [`RuleUses`]: how often, and when last, each rule decided a query, across reloads and restarts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metrics::{counter, gauge};
use rapidhash::{RapidHashMap, RapidHashSet};
use serde::{Deserialize, Serialize};

use crate::engine::State;
use crate::policy::RuleRef;
use crate::policy::rule::Action;
use crate::util::label::Label;
use crate::util::rfc3339;
use crate::util::sync::lock;

/// Maximum rules with a use of their own. In a longer policy only rules with hits have one.
const MAX_RULES: usize = 10_000;

/// Maximum rules of an allowlist whose hits become metrics.
const MAX_SERIES: usize = 500;

/// A rule, as it is recognised after a reload: its line may change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleName {
    /// Its allowlist.
    pub allowlist: String,
    /// Allow or deny.
    pub action: Action,
    /// Its pattern, as text.
    pub rule: String,
}

impl RuleName {
    /// The name of `rule`.
    pub fn of(rule: RuleRef<'_>) -> Self {
        Self { allowlist: rule.source().zone.clone(), action: rule.action(), rule: rule.to_string() }
    }
}

/// The use of one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleUse {
    /// Counted from this time on.
    #[serde(with = "rfc3339::as_seconds")]
    pub since: SystemTime,
    /// Queries that the rule decided.
    pub hits: u64,
    /// The last of them, to ten seconds.
    #[serde(with = "rfc3339::as_optional_seconds", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<SystemTime>,
}

impl RuleUse {
    /// True if the rule was in force for all of `period` before `now`, and decided nothing.
    pub fn is_unused(&self, period: Duration, now: SystemTime) -> bool {
        let known = self.last.unwrap_or(self.since).max(self.since);
        now.duration_since(known).is_ok_and(|since| since >= period)
    }
}

/// One line of the file in which uses survive a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRuleUse {
    /// The rule.
    #[serde(flatten)]
    pub name: RuleName,
    /// Its use.
    #[serde(flatten)]
    pub rule_use: RuleUse,
}

/// The uses of all rules in force.
#[derive(Debug, Default)]
pub struct RuleUses {
    rules: Mutex<RapidHashMap<RuleName, RuleUse>>,
    has_changed: AtomicBool,
}

impl RuleUses {
    /// Adds what an earlier process saved.
    pub fn restore(&self, saved: impl IntoIterator<Item = SavedRuleUse>) {
        let saved = saved.into_iter().take(MAX_RULES);
        self.lock().extend(saved.map(|SavedRuleUse { name, rule_use }| (name, rule_use)));
    }

    /// True if anything has changed since the last call.
    pub fn take_change(&self) -> bool {
        self.has_changed.swap(false, Ordering::Relaxed)
    }

    /// Makes the next [`RuleUses::take_change`] return true: what changed could not be saved.
    pub fn note_change(&self) {
        self.has_changed.store(true, Ordering::Relaxed);
    }

    /// All uses, by rule.
    pub fn saved(&self) -> Vec<SavedRuleUse> {
        let rules = self.lock();
        let mut saved: Vec<SavedRuleUse> = rules
            .iter()
            .map(|(name, rule_use)| SavedRuleUse { name: name.clone(), rule_use: *rule_use })
            .collect();
        drop(rules);
        saved.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        saved
    }

    /// Counts the rules of `state` from `now` on, and forgets rules that are no longer in force.
    pub fn adopt(&self, state: &State, now: SystemTime) {
        let groups = state.policies.groups();
        let is_long = groups.iter().map(|group| group.policy.rules()).sum::<usize>() > MAX_RULES;
        let mut rules = self.lock();
        let mut before = std::mem::take(&mut *rules);
        for rule in groups.iter().flat_map(|group| group.policy.iter_with_ended()) {
            let name = RuleName::of(rule);
            match before.remove(&name) {
                Some(known) => drop(rules.insert(name, known)),
                None if is_long => {}
                None => drop(rules.entry(name).or_insert(RuleUse { since: now, hits: 0, last: None })),
            }
        }
        self.note_change();
    }

    /// Adds the hits in `state` since the last call.
    pub fn collect(&self, state: &State, now: SystemTime) {
        let hits = state.rule_hits.take();
        if hits.is_empty() {
            return;
        }
        self.note_change();
        let mut rules = self.lock();
        for (group, id, count) in &hits {
            let Some(rule) = state.policies.policy(*group).rule_by_id(*id) else { continue };
            let is_full = rules.len() >= MAX_RULES;
            let name = RuleName::of(rule);
            if is_full && !rules.contains_key(&name) {
                continue;
            }
            let known = rules.entry(name).or_insert(RuleUse { since: now, hits: 0, last: None });
            known.hits = known.hits.saturating_add(u64::from(*count));
            known.last = Some(now);
        }
    }

    /// The use of a rule; `None` if it has none of its own.
    pub fn of(&self, rule: RuleRef<'_>) -> Option<RuleUse> {
        self.lock().get(&RuleName::of(rule)).copied()
    }

    /// Publishes the rules with hits, of allowlists that are not long.
    pub(super) fn publish(&self, state: &State) {
        let rules = self.lock();
        for group in state.policies.groups() {
            let sources = group.policy.sources().map(|(source, rules)| (source.zone.as_str(), rules));
            let short: RapidHashSet<&str> =
                sources.filter(|(_, rules)| *rules <= MAX_SERIES).map(|(zone, _)| zone).collect();
            if short.is_empty() {
                continue;
            }
            for rule in
                group.policy.iter_with_ended().filter(|rule| short.contains(rule.source().zone.as_str()))
            {
                let name = RuleName::of(rule);
                let Some(RuleUse { hits, last: Some(last), .. }) = rules.get(&name).copied() else {
                    continue;
                };
                let RuleName { allowlist, action, rule } = name;
                let action = action.label();
                let last = last.duration_since(UNIX_EPOCH).map_or(0, |last| last.as_secs());
                let (zone, labelled) = (allowlist.clone(), rule.clone());
                counter!("namegate_rule_hits_total", "zone" => zone, "action" => action, "rule" => labelled)
                    .absolute(hits);
                gauge!("namegate_rule_last_used_timestamp_seconds", "zone" => allowlist, "action" => action, "rule" => rule)
                    .set(last as f64);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RapidHashMap<RuleName, RuleUse>> {
        lock(&self.rules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unused_means_in_force_and_silent_for_the_whole_period() {
        let day = |day: u64| UNIX_EPOCH + Duration::from_secs(day * 86_400);
        for (since, last, unused) in [
            (day(0), None, true),
            (day(0), Some(day(5)), true),
            (day(0), Some(day(11)), false),
            (day(11), None, false),
            // The clock was ahead once.
            (day(200), Some(day(201)), false),
        ] {
            let rule_use = RuleUse { since, hits: 0, last };
            assert_eq!(
                rule_use.is_unused(Duration::from_secs(10 * 86_400), day(20)),
                unused,
                "{since:?} {last:?}"
            );
        }
    }
}
