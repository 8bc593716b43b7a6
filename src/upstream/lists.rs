//! [`ServerLists`]: the lists of servers that names may go to, each once.

use super::address::UpstreamAddress;
use crate::policy::route::{MAX_ROUTES, Route};

/// Lists of servers as they are written, by [`Route`]; the first is for all names without a route.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerLists(Vec<Vec<UpstreamAddress>>);

impl ServerLists {
    /// The list of all names without a route.
    pub fn new(servers: Vec<UpstreamAddress>) -> Self {
        Self(vec![servers])
    }

    /// The route to `servers`; none where there are none, or no place for another list.
    pub fn route(&mut self, servers: &[UpstreamAddress]) -> Option<Route> {
        if servers.is_empty() {
            return None;
        }
        let known = self.0.iter().position(|list| list == servers);
        let index = known.unwrap_or_else(|| {
            self.0.push(servers.to_vec());
            self.0.len() - 1
        });
        u8::try_from(index).ok().filter(|_| index < MAX_ROUTES).map(Route)
    }

    /// True where there are more lists than there can be routes.
    pub fn is_overfull(&self) -> bool {
        self.0.len() > MAX_ROUTES
    }

    /// All lists, by route.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Route, &[UpstreamAddress])> {
        self.0.iter().enumerate().map(|(index, list)| (Route(index as u8), &**list))
    }
}
