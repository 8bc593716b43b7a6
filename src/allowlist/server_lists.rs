//! [`ServerLists`]: the server lists of all routes, without duplicates.

use crate::address::upstream::UpstreamAddress;
use crate::policy::route::{MAX_ROUTES, Route};
use crate::policy::rule::Pattern;

/// Server lists by [`Route`]. The first is for names without a route.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerLists {
    lists: Vec<Vec<UpstreamAddress>>,
    /// Patterns of allowlists that have their own servers.
    zones: Vec<(Pattern, Route)>,
}

impl ServerLists {
    /// Starts with the list for names without a route.
    pub fn new(servers: Vec<UpstreamAddress>) -> Self {
        Self { lists: vec![servers], zones: Vec::new() }
    }

    /// The route to `servers`; `None` if `servers` is empty or there are too many lists.
    pub fn route(&mut self, servers: &[UpstreamAddress]) -> Option<Route> {
        if servers.is_empty() {
            return None;
        }
        let known = self.lists.iter().position(|list| list == servers);
        let index = known.unwrap_or_else(|| {
            self.lists.push(servers.to_vec());
            self.lists.len() - 1
        });
        u8::try_from(index).ok().filter(|_| index < MAX_ROUTES).map(Route)
    }

    /// True if there are more lists than possible routes.
    pub fn is_overfull(&self) -> bool {
        self.lists.len() > MAX_ROUTES
    }

    /// All lists with their routes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Route, &[UpstreamAddress])> {
        self.lists.iter().enumerate().map(|(index, list)| (Route(index as u8), &**list))
    }

    /// Records that an allowlist sends the names of `pattern` to `route`.
    pub fn note(&mut self, pattern: &Pattern, route: Route) {
        self.zones.push((pattern.clone(), route));
    }

    /// The routes of allowlists.
    pub fn zones(&self) -> impl Iterator<Item = (&Pattern, Route)> {
        self.zones.iter().map(|(pattern, route)| (pattern, *route))
    }
}
