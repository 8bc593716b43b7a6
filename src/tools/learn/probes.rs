//! [`OwnProbes`]: names that namegate and `namegate prove` query themselves.

use std::collections::HashSet;

use crate::observe::blocked_names::{BlockedNames, Sighting};
use crate::observe::canary::is_random_label;
use crate::wire::name::Name;

/// Names that namegate and `namegate prove` query.
#[derive(Clone, Debug, Default)]
pub struct OwnProbes {
    /// Names that must not resolve.
    pub must_not_resolve: Vec<Name>,
    /// Names that look like allowed ones. Clients may query them too.
    pub look_alikes: HashSet<Name>,
}

/// The probes, and the lookups of random names that only `namegate prove` makes.
pub(super) struct ProbeSearch<'n> {
    probes: &'n OwnProbes,
    runs: Vec<&'n Sighting>,
}

impl<'n> ProbeSearch<'n> {
    pub(super) fn new(probes: &'n OwnProbes, names: &'n BlockedNames) -> Self {
        let of_a_run = |(name, seen)| probes.is_below(&name).then_some(seen);
        Self { probes, runs: names.iter().filter_map(of_a_run).collect() }
    }

    /// True if the name must not resolve, or only clients that ran `namegate prove` queried it, which also queries it.
    pub(super) fn is_probe(&self, name: &Name, seen: &Sighting) -> bool {
        let is_prover = |client| self.runs.iter().any(|run| run.clients.kept().contains(client));
        let is_by_provers = || !seen.clients.more() && seen.clients.kept().iter().all(is_prover);
        self.probes.must_not_resolve.contains(name)
            || self.probes.is_below(name)
            || !self.runs.is_empty() && self.probes.look_alikes.contains(name) && is_by_provers()
    }
}

impl OwnProbes {
    /// True for a random name below one that must not resolve.
    fn is_below(&self, name: &Name) -> bool {
        self.must_not_resolve.iter().any(|canary| {
            let below = name.labels().count().checked_sub(canary.labels().count() + 1);
            let label = below.and_then(|below| name.labels().nth(below));
            name.is_within(canary) && label.is_some_and(is_random_label)
        })
    }
}
