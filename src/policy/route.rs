//! [`Routes`]: which upstream servers are queried for a name.

use super::rule::{Action, Pattern};
use super::trie::{Trie, TrieBuilder, TrieRule};
use crate::wire::name::Name;

/// Index of a route within one policy; the first is the default route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route(pub u8);

impl Route {
    /// The default route, for names that no other route covers.
    pub const DEFAULT: Self = Self(0);
}

/// Id of a list of upstream servers. An id is never reused while a query or a cache entry of it exists, over all
/// reloads: answers of one route are never used for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub u8);

/// Maximum routes of one policy: ids have eight bits, and those of the previous policy are still in use during a
/// reload.
pub const MAX_ROUTES: usize = 127;

/// Names with their own upstream servers.
pub struct Routes {
    /// Routes of the settings. The `source` of a rule is its route.
    named: Trie,
    /// Routes of allowlists, for the names they allow.
    zones: Trie,
    is_empty: bool,
}

impl Routes {
    /// `named` are the routes of the settings, `zones` those of allowlists. The most specific pattern wins within each.
    pub fn new<'a>(
        named: impl IntoIterator<Item = (&'a Pattern, Route)>,
        zones: impl IntoIterator<Item = (&'a Pattern, Route)>,
    ) -> Self {
        let (named, zones) = (compile(named), compile(zones));
        Self { is_empty: named.rules() == 0, named, zones }
    }

    /// The route of the settings for `name`.
    pub fn named(&self, name: &Name) -> Option<Route> {
        if self.is_empty {
            return None;
        }
        find(&self.named, name)
    }

    /// The route of the allowlist whose pattern covers `name`.
    pub fn of_zones(&self, name: &Name) -> Option<Route> {
        find(&self.zones, name)
    }
}

fn compile<'a>(patterns: impl IntoIterator<Item = (&'a Pattern, Route)>) -> Trie {
    let mut trie = TrieBuilder::new();
    for (pattern, route) in patterns {
        trie.insert(TrieRule { source: route.0.into(), ..TrieRule::new(Action::Allow, pattern) });
    }
    trie.build()
}

fn find(trie: &Trie, name: &Name) -> Option<Route> {
    let rule = trie.rule(trie.find(name)?)?;
    Some(Route(rule.source as u8))
}
