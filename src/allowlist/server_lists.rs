//! [`ServerLists`]: the lists of servers that names may go to, each once.

use crate::address::upstream::UpstreamAddress;
use crate::policy::route::{MAX_ROUTES, Route};
use crate::policy::rule::Pattern;

/// Lists of servers as they are written, by [`Route`]; the first is for all names without a route.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerLists {
    lists: Vec<Vec<UpstreamAddress>>,
    /// Patterns of zone files that have servers of their own.
    zones: Vec<(Pattern, Route)>,
}

impl ServerLists {
    /// The list of all names without a route.
    pub fn new(servers: Vec<UpstreamAddress>) -> Self {
        Self { lists: vec![servers], zones: Vec::new() }
    }

    /// The route to `servers`; none where there are none, or no place for another list.
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

    /// True where there are more lists than there can be routes.
    pub fn is_overfull(&self) -> bool {
        self.lists.len() > MAX_ROUTES
    }

    /// All lists, by route.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Route, &[UpstreamAddress])> {
        self.lists.iter().enumerate().map(|(index, list)| (Route(index as u8), &**list))
    }

    /// Notes that a zone file sends what `pattern` covers to `route`.
    pub fn note(&mut self, pattern: &Pattern, route: Route) {
        self.zones.push((pattern.clone(), route));
    }

    /// Where zone files send what they allow.
    pub fn zones(&self) -> impl Iterator<Item = (&Pattern, Route)> {
        self.zones.iter().map(|(pattern, route)| (pattern, *route))
    }
}
