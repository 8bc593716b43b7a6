//! [`Upstreams`]: every server that may be asked, and which of them each route has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::UpstreamAddress;
use super::budget::Budget;
use super::server::{Server, ServerStats};
use super::{Upstream, UpstreamConfig};
use crate::policy::route::RouteId;
use crate::wire::name::Name;

/// All servers. One that several routes have is one server: it has one budget and one health.
#[derive(Debug)]
pub struct Upstreams {
    config: UpstreamConfig,
    routes: BTreeMap<RouteId, RouteServers>,
    default: RouteId,
    servers: Vec<Arc<Server>>,
    /// Counts of every server this process ever had, so that no count goes down when one is replaced.
    known: BTreeMap<String, Arc<ServerStats>>,
}

/// A route's servers, as addresses and as what is asked.
#[derive(Debug)]
struct RouteServers {
    addresses: Vec<UpstreamAddress>,
    upstream: Arc<Upstream>,
}

impl Upstreams {
    /// The servers of `lists`, the first of which is for all names without a route, with the number of each list's route.
    /// Equal lists have one number, the one they had in `before`. Servers that `before` had keep their counts, health,
    /// budget and connections. [`UpstreamAddress::System`] is left out here.
    pub fn new(
        config: UpstreamConfig,
        lists: Vec<Vec<UpstreamAddress>>,
        before: Option<&Self>,
    ) -> (Self, Vec<RouteId>) {
        let mut known = before.map(|before| before.known.clone()).unwrap_or_default();
        let same_budget = |before: &&Self| {
            (before.config.max_in_flight, before.config.max_qps) == (config.max_in_flight, config.max_qps)
        };
        let kept = before.filter(same_budget).map_or(&[][..], |before| &before.servers);
        let mut servers: Vec<Arc<Server>> = Vec::new();
        // Connections that were made under other terms are not used under these.
        let same_encryption = before.is_some_and(|before| before.config.encryption == config.encryption);
        let mut server = |address: &UpstreamAddress| {
            let name = address.to_string();
            if let Some(server) = servers.iter().find(|server| **server.name() == *name) {
                return Some(Arc::clone(server));
            }
            let may_be_kept = same_encryption || !address.is_encrypted();
            let server = match kept.iter().find(|server| may_be_kept && **server.name() == *name) {
                Some(server) => Arc::clone(server),
                None => {
                    let stats = Arc::clone(known.entry(name).or_default());
                    let budget = Budget::new(config.max_in_flight, config.max_qps);
                    Arc::new(Server::new(address, config.encryption.as_ref(), budget, stats)?)
                }
            };
            servers.push(Arc::clone(&server));
            Some(server)
        };
        let mut routes = BTreeMap::new();
        let mut numbers = Vec::new();
        for addresses in lists {
            let number = number(&addresses, &routes, before);
            numbers.push(number);
            routes.entry(number).or_insert_with(|| {
                let servers = addresses.iter().filter_map(&mut server).collect();
                let config = config.clone();
                RouteServers { addresses, upstream: Arc::new(Upstream { config, servers }) }
            });
        }
        let default = numbers.first().copied().unwrap_or(RouteId(0));
        (Self { config, routes, default, servers, known }, numbers)
    }

    /// What holds for all servers.
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// The servers of a route; those of names without one where the number is not in use.
    pub fn route(&self, route: RouteId) -> &Arc<Upstream> {
        let found = self.routes.get(&route).or_else(|| self.routes.get(&self.default));
        // There is a default route from the start.
        found.map_or_else(|| &self.routes[&self.default].upstream, |route| &route.upstream)
    }

    /// The servers of names without a route.
    pub fn default(&self) -> &Arc<Upstream> {
        self.route(self.default)
    }

    /// All servers, each once, in the order they were written.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// A query for `name`, of type [`super::loop_watch::QTYPE`], came in: a server that was asked for it forwards to us.
    #[cold]
    pub fn note_arrival(&self, name: &Name) {
        self.servers.iter().for_each(|server| server.stats.loops.note_arrival(name));
    }

    /// Counts of all servers this process ever had, by name.
    pub fn known(&self) -> impl Iterator<Item = (&str, &ServerStats)> {
        self.known.iter().map(|(name, stats)| (name.as_str(), &**stats))
    }
}

/// The number of a list of servers: that of an equal one, else one that nothing kept so far can have been learnt under.
fn number(
    addresses: &[UpstreamAddress],
    routes: &BTreeMap<RouteId, RouteServers>,
    before: Option<&Upstreams>,
) -> RouteId {
    let empty = BTreeMap::new();
    let before = before.map_or(&empty, |before| &before.routes);
    let equal = |routes: &BTreeMap<RouteId, RouteServers>| {
        routes.iter().find(|(_, route)| route.addresses == addresses).map(|(number, _)| *number)
    };
    let free = || {
        (0..=u8::MAX).map(RouteId).find(|number| !routes.contains_key(number) && !before.contains_key(number))
    };
    equal(routes).or_else(|| equal(before)).or_else(free).unwrap_or(RouteId(0))
}
