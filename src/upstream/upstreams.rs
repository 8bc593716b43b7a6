//! [`Upstreams`]: every configured server, and the servers of each route.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use super::budget::Budget;
use super::server::Server;
use super::{Upstream, UpstreamConfig};
use crate::address::upstream::UpstreamAddress;
use crate::policy::route::RouteId;
use crate::upstream::server_stats::ServerStats;
use crate::wire::name::Name;

/// All servers. A server that several routes use is one server with one budget and one health state.
#[derive(Debug)]
pub struct Upstreams {
    config: UpstreamConfig,
    routes: BTreeMap<RouteId, RouteServers>,
    default: RouteId,
    /// Server lists of earlier policies that queries in flight may still use.
    retired: BTreeMap<RouteId, Retired>,
    /// The last assigned id. Ids are assigned in turn, so one is reused as late as possible.
    last: RouteId,
    servers: Vec<Arc<Server>>,
    /// Counters of every server this process ever had, so that no counter decreases when one is replaced.
    known: BTreeMap<String, Arc<ServerStats>>,
}

/// A route's servers, as addresses and as [`Upstream`].
#[derive(Debug)]
struct RouteServers {
    addresses: Vec<UpstreamAddress>,
    upstream: Arc<Upstream>,
}

/// A route's servers under an earlier policy.
#[derive(Clone, Debug)]
struct Retired {
    addresses: Vec<UpstreamAddress>,
    upstream: Weak<Upstream>,
}

/// All route ids are in use.
#[derive(Debug, thiserror::Error)]
#[error(
    "too many server lists are in use: queries are still in flight to servers of earlier settings\n  \
     help: reload again in a few seconds"
)]
pub struct NoFreeRoute;

impl Upstreams {
    /// The servers of `lists` (the first is for names without a route), and the route id of each list. Equal lists
    /// share one id, which they keep from `before`. Servers also in `before` keep their counters and health, and their budget and
    /// connections unless the limits or, for encrypted servers, the TLS settings changed. [`UpstreamAddress::System`] is ignored here.
    ///
    /// Errors: queries in flight under earlier policies use all remaining ids.
    pub fn new(
        config: UpstreamConfig,
        lists: Vec<Vec<UpstreamAddress>>,
        before: Option<&Self>,
    ) -> Result<(Self, Vec<RouteId>), NoFreeRoute> {
        let mut known = before.map(|before| before.known.clone()).unwrap_or_default();
        let same_budget = |before: &&Self| {
            (before.config.max_in_flight, before.config.max_qps) == (config.max_in_flight, config.max_qps)
        };
        let kept = before.filter(same_budget).map_or(&[][..], |before| &before.servers);
        let mut servers: Vec<Arc<Server>> = Vec::new();
        // Connections opened under other TLS settings are not reused.
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
        let retired = before.map(Self::retired).unwrap_or_default();
        let mut last = before.map_or(RouteId(u8::MAX), |before| before.last);
        let mut routes = BTreeMap::<RouteId, RouteServers>::new();
        let mut numbers = Vec::new();
        for addresses in lists {
            let same = |known: &[UpstreamAddress]| *known == *addresses;
            let ours = routes.iter().find(|(_, route)| same(&route.addresses)).map(|(number, _)| *number);
            let earlier =
                || retired.iter().find(|(_, route)| same(&route.addresses)).map(|(number, _)| *number);
            let number = match ours.or_else(earlier) {
                Some(number) => number,
                None => {
                    let is_free =
                        |number: &RouteId| !routes.contains_key(number) && !retired.contains_key(number);
                    let in_turn = (1..=u8::MAX).map(|step| RouteId(last.0.wrapping_add(step)));
                    last = in_turn.chain([last]).find(is_free).ok_or(NoFreeRoute)?;
                    last
                }
            };
            numbers.push(number);
            routes.entry(number).or_insert_with(|| {
                let servers = addresses.iter().filter_map(&mut server).collect();
                let config = config.clone();
                RouteServers { addresses, upstream: Arc::new(Upstream { config, servers }) }
            });
        }
        let default = numbers.first().copied().unwrap_or(RouteId(0));
        Ok((Self { config, routes, default, retired, last, servers, known }, numbers))
    }

    /// The lists of this and of earlier policies that queries in flight may still use after a policy change.
    fn retired(&self) -> BTreeMap<RouteId, Retired> {
        let ours = self.routes.iter().map(|(number, RouteServers { addresses, upstream })| {
            (*number, Retired { addresses: addresses.clone(), upstream: Arc::downgrade(upstream) })
        });
        let earlier = self.retired.iter().filter(|(_, route)| route.upstream.strong_count() > 0);
        earlier.map(|(number, route)| (*number, route.clone())).chain(ours).collect()
    }

    /// Settings common to all servers.
    pub fn config(&self) -> &UpstreamConfig {
        &self.config
    }

    /// The servers of a route; those of names without a route if the id is not in use.
    pub fn route(&self, route: RouteId) -> &Arc<Upstream> {
        let found = self.routes.get(&route).or_else(|| self.routes.get(&self.default));
        // A default route always exists.
        found.map_or_else(|| &self.routes[&self.default].upstream, |route| &route.upstream)
    }

    /// The servers of names without a route.
    pub fn default(&self) -> &Arc<Upstream> {
        self.route(self.default)
    }

    /// The servers of each route.
    pub fn lists(&self) -> impl Iterator<Item = &[Arc<Server>]> {
        self.routes.values().map(|route| route.upstream.servers())
    }

    /// All servers, each once, in configured order.
    pub fn servers(&self) -> &[Arc<Server>] {
        &self.servers
    }

    /// Records that a query for `name` of type [`super::loop_watch::QTYPE`] arrived. If namegate sent this name to a server
    /// to detect a loop, that server forwards to namegate.
    #[cold]
    pub fn note_arrival(&self, name: &Name) {
        self.servers.iter().for_each(|server| server.stats.loops.note_arrival(name));
    }

    /// Counters of all servers this process ever had, by name.
    pub fn known(&self) -> impl Iterator<Item = (&str, &ServerStats)> {
        self.known.iter().map(|(name, stats)| (name.as_str(), &**stats))
    }
}
