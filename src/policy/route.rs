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

/// Number of a list of upstream servers. It stands for the same list as long as anything learnt through it is kept, over all
/// reloads: answers of one route are never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u8);

/// Routes there can be at once: each has a number of eight bits, and those of the policy before are still in use while a
/// new one comes into force.
pub const MAX_ROUTES: usize = 127;

/// Names that go to upstreams of their own.
pub struct Routes {
    /// The source of a rule is its route.
    names: Trie,
    is_empty: bool,
}

impl Routes {
    /// The most specific pattern of `named` says where a name goes.
    pub fn new<'a>(named: impl IntoIterator<Item = (&'a Pattern, Route)>) -> Self {
        let mut names = TrieBuilder::new();
        for (pattern, route) in named {
            names.insert(Action::Allow, pattern, route.0.into(), 0, Expect::Any);
        }
        let names = names.build();
        Self { is_empty: names.rules() == 0, names }
    }

    /// Where `name` goes, if nothing else is said of it than its own name.
    pub fn named(&self, name: &Name) -> Option<Route> {
        if self.is_empty {
            return None;
        }
        let rule = self.names.rule(self.names.find(name)?)?;
        Some(Route(rule.source as u8))
    }
}
