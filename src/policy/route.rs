//! [`Routes`]: which upstreams a name goes to.

use super::expect::Expect;
use super::rule::{Action, Pattern};
use super::trie::{Trie, TrieBuilder};
use crate::wire::name::Name;

/// Index of a list of upstream servers among those of one policy; the first is that of all names without a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route(pub u8);

impl Route {
    /// Where names go that no route is for.
    pub const DEFAULT: Self = Self(0);
}

/// Number of a list of upstream servers. It stands for the same list as long as anything asked through it is in flight or
/// kept, over all reloads: answers of one route are never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u8);

/// Routes there can be at once: each has a number of eight bits, and those of the policy before are still in use while a
/// new one comes into force.
pub const MAX_ROUTES: usize = 127;

/// Names that go to upstreams of their own.
pub struct Routes {
    /// What the settings say. The source of a rule is its route.
    named: Trie,
    /// What zone files say of the names they allow.
    zones: Trie,
    is_empty: bool,
}

impl Routes {
    /// The most specific pattern of `named` says where a name goes; else, where no rule of a zone decides, that of `zones`.
    pub fn new<'a>(
        named: impl IntoIterator<Item = (&'a Pattern, Route)>,
        zones: impl IntoIterator<Item = (&'a Pattern, Route)>,
    ) -> Self {
        let (named, zones) = (compile(named), compile(zones));
        Self { is_empty: named.rules() == 0, named, zones }
    }

    /// Where `name` goes, if nothing else is said of it than its own name.
    pub fn named(&self, name: &Name) -> Option<Route> {
        if self.is_empty {
            return None;
        }
        find(&self.named, name)
    }

    /// Where zone files would send `name`, were it theirs.
    pub fn of_zones(&self, name: &Name) -> Option<Route> {
        find(&self.zones, name)
    }
}

fn compile<'a>(patterns: impl IntoIterator<Item = (&'a Pattern, Route)>) -> Trie {
    let mut trie = TrieBuilder::new();
    for (pattern, route) in patterns {
        trie.insert(Action::Allow, pattern, route.0.into(), 0, Expect::Any);
    }
    trie.build()
}

fn find(trie: &Trie, name: &Name) -> Option<Route> {
    let rule = trie.rule(trie.find(name)?)?;
    Some(Route(rule.source as u8))
}
