//! Steps by time and operators in the [`World`], done as `namegate::service::reload` does them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use namegate::engine::State;
use namegate::policy::temporary::{Grant, GrantScope, Temporary};

use super::super::Pattern;
use super::super::testbed::{state, upstreams};
use super::model::SERVERS;
use super::world::{World, cache, rule_sets};

/// Patterns that may be granted.
const PATTERNS: [&str; 4] = ["x.test", "*.test", ".example", "b.example"];

impl World {
    /// Time passes.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now += time;
        let state = self.state.load_full();
        if let Some((left, _)) =
            state.policies.temporary().expired(self.time(), SystemTime::UNIX_EPOCH + self.now)
        {
            self.swap_temporary(&state, left);
        }
    }

    /// Puts other rules into force.
    pub(super) fn reload(&mut self, rules: usize, new_cache: bool) {
        let before = self.state.load_full();
        let mut policies = rule_sets(rules, before.policies.generation() + 1);
        let upstreams = upstreams(&SERVERS, Some(&before.upstreams), &mut policies);
        policies.take_over(&before.policies);
        let cache = if new_cache { cache() } else { Arc::clone(&before.cache) };
        self.state.store(Arc::new(state(policies, upstreams, cache)));
        self.model.reload(rules);
    }

    /// Tidies the cache, as reloads do after the swap while queries continue.
    pub(super) fn tidy(&mut self) {
        let (state, now) = (self.state.load_full(), self.time());
        state.cache.retain(|name, route| state.policies.may_keep(name, route, now));
    }

    /// Grants names.
    pub(super) fn allow(&mut self, pattern: u8, seconds: u8) {
        let state = self.state.load_full();
        let (pattern, wall) = (pattern_of(pattern), SystemTime::UNIX_EPOCH + self.now);
        let until = wall + Duration::from_secs(seconds.into());
        let (reason, author) = (String::new(), String::new());
        let grant =
            Grant { pattern: pattern.clone(), scope: GrantScope::All, reason, author, since: wall, until };
        let Ok(temporary) = state.policies.temporary().with(grant, self.time(), wall) else { return };
        self.model.allow(pattern, self.now + Duration::from_secs(seconds.into()));
        self.swap_temporary(&state, temporary);
    }

    /// Revokes a grant.
    pub(super) fn revoke(&mut self, pattern: u8) {
        let (state, pattern) = (self.state.load_full(), pattern_of(pattern));
        if let Some(temporary) = state.policies.temporary().without(&pattern, &GrantScope::All) {
            self.model.revoke(&pattern);
            self.swap_temporary(&state, temporary);
        }
    }

    fn swap_temporary(&mut self, state: &State, temporary: Temporary) {
        let policies = state.policies.with_temporary(temporary);
        self.state.store(Arc::new(State { policies, ..state.clone() }));
    }
}

fn pattern_of(index: u8) -> Pattern {
    Pattern::parse(PATTERNS[usize::from(index) % PATTERNS.len()]).unwrap()
}
