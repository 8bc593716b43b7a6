//! [`Clients`]: who may ask, and by whose rules.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// Index of a client group among a policy's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId(u8);

/// Groups there can be, that of all other clients included.
pub const MAX_GROUPS: usize = 250;

impl GroupId {
    /// The group of clients that no other group claims.
    pub const DEFAULT: Self = Self(0);

    /// The group at `index`; none from [`MAX_GROUPS`] on.
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|_| index < MAX_GROUPS).map(Self)
    }

    /// Its index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Every address's group; addresses without one are refused.
///
/// The address space is cut where any subnet begins or ends, once; an address is then found by bisection, however many
/// groups there are.
#[derive(Clone, Debug)]
pub struct Clients {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    prefix: ClientPrefix,
}

/// The address space as neighbouring ranges: each begins where it says and ends before the next.
#[derive(Clone, Debug)]
struct Ranges<T> {
    starts: Box<[T]>,
    groups: Box<[Option<GroupId>]>,
}

impl Clients {
    /// Addresses in one of `admitted` may ask. Each belongs to the group that claims it with the longest prefix, else to
    /// [`GroupId::DEFAULT`].
    pub fn new(admitted: &[IpNet], groups: &[(IpNet, GroupId)]) -> Self {
        let v4 = |net: &IpNet| match net {
            IpNet::V4(net) => Some((net.network().to_bits(), net.broadcast().to_bits(), net.prefix_len())),
            IpNet::V6(_) => None,
        };
        let v6 = |net: &IpNet| match net {
            IpNet::V6(net) => Some((net.network().to_bits(), net.broadcast().to_bits(), net.prefix_len())),
            IpNet::V4(_) => None,
        };
        let claims_v4 = groups.iter().filter_map(|(net, group)| Some((v4(net)?, *group)));
        let claims_v6 = groups.iter().filter_map(|(net, group)| Some((v6(net)?, *group)));
        Self {
            v4: Ranges::new(admitted.iter().filter_map(v4), claims_v4, 0, |last| last.checked_add(1)),
            v6: Ranges::new(admitted.iter().filter_map(v6), claims_v6, 0, |last| last.checked_add(1)),
            prefix: ClientPrefix::default(),
        }
    }

    /// The same with another prefix that stands for one client.
    #[must_use]
    pub fn with_prefix(self, prefix: ClientPrefix) -> Self {
        Self { prefix, ..self }
    }

    /// How much of an IPv6 address stands for one client.
    pub fn prefix(&self) -> ClientPrefix {
        self.prefix
    }

    /// The group of `address`; none where it may not ask. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.5`) counts as
    /// the IPv4 address.
    pub fn group(&self, address: IpAddr) -> Option<GroupId> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// Cuts the space from `zero` on; subnets are given by their first and last address and their prefix.
    fn new(
        admitted: impl Iterator<Item = (T, T, u8)>,
        claims: impl Iterator<Item = ((T, T, u8), GroupId)>,
        zero: T,
        after: impl Fn(T) -> Option<T>,
    ) -> Self {
        let (admitted, claims): (Vec<_>, Vec<_>) = (admitted.collect(), claims.collect());
        let mut cuts = vec![zero];
        for (first, last, _) in admitted.iter().chain(claims.iter().map(|(net, _)| net)) {
            cuts.push(*first);
            cuts.extend(after(*last));
        }
        cuts.sort_unstable();
        cuts.dedup();
        let (mut starts, mut groups) = (Vec::new(), Vec::new());
        for cut in cuts {
            let contains = |(first, last, _): &(T, T, u8)| (*first..=*last).contains(&cut);
            let claimed =
                claims.iter().filter(|(net, _)| contains(net)).max_by_key(|((_, _, prefix), _)| prefix);
            let group = claimed.map_or(GroupId::DEFAULT, |(_, group)| *group);
            let group = admitted.iter().any(contains).then_some(group);
            if groups.last() != Some(&group) {
                starts.push(cut);
                groups.push(group);
            }
        }
        Self { starts: starts.into(), groups: groups.into() }
    }

    fn find(&self, address: T) -> Option<GroupId> {
        // The first range begins at zero, so that there always is one.
        let after = self.starts.partition_point(|start| *start <= address);
        self.groups[after.saturating_sub(1)]
    }
}

/// Whose share of what all clients share a query uses. Queries over UDP without a cookie may have a forged address, so they
/// have a share apart from those of the same client that have shown theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareHolder {
    client: WholeClient,
    is_proven: bool,
}

impl ShareHolder {
    /// The holder for queries of `client`, which has shown its address to be its own where `is_proven` says so.
    pub fn new(client: WholeClient, is_proven: bool) -> Self {
        Self { client, is_proven }
    }
}

/// How many leading bits of an IPv6 address stand for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPrefix(u8);

/// All that one client has, as the first of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WholeClient(IpAddr);

impl ClientPrefix {
    /// `length` bits, 128 at most.
    pub fn new(length: u8) -> Self {
        Self(length.min(128))
    }

    /// The client that has `address`.
    pub fn whole(self, address: IpAddr) -> WholeClient {
        WholeClient(match address.to_canonical() {
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(self.0.into()).unwrap_or(0);
                Ipv6Addr::from_bits(address.to_bits() & !host).into()
            }
            v4 => v4,
        })
    }
}

/// A /64: what a network has that a host is in alone, within which it has every address (RFC 7421).
impl Default for ClientPrefix {
    fn default() -> Self {
        Self(64)
    }
}

impl fmt::Display for WholeClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl WholeClient {
    /// The first of its addresses.
    pub fn address(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn nets(nets: &[&str]) -> Vec<IpNet> {
        nets.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn is_admitted(clients: &Clients, address: &str) -> bool {
        clients.group(address.parse().unwrap()).is_some()
    }

    #[test]
    fn the_widest_and_the_narrowest_subnets() {
        let all = Clients::new(&nets(&["0.0.0.0/0", "::1/128"]), &[]);
        for (address, expected) in [
            ("255.1.2.3", true),
            ("0.0.0.0", true),
            ("255.255.255.255", true),
            ("::1", true),
            ("::2", false),
            ("::", false),
        ] {
            assert_eq!(is_admitted(&all, address), expected, "{address}");
        }
        // Bits beyond the prefix do not count, however they were written.
        assert!(is_admitted(&Clients::new(&nets(&["192.168.7.9/16"]), &[]), "192.168.1.1"));
        assert!(!is_admitted(&Clients::new(&[], &[]), "127.0.0.1"));
    }

    #[test]
    fn mapped_addresses_are_the_addresses_they_carry() {
        let clients = Clients::new(&nets(&["10.0.0.0/8", "fc00::/7"]), &[]);
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("::ffff:11.0.0.1", false),
            ("fd00::1", true),
            ("2001:db8::1", false),
            ("fe80::1", false),
            ("9.255.255.255", false),
            ("10.255.255.255", true),
        ] {
            assert_eq!(is_admitted(&clients, address), expected, "{address}");
        }
    }

    #[test]
    fn one_client_has_as_much_of_ipv6_as_is_set() {
        let whole = |length, address: &str| {
            ClientPrefix::new(length).whole(address.parse().unwrap()).address().to_string()
        };
        for (length, address, client) in [
            (64, "2001:db8::1:2:3", "2001:db8::"),
            (128, "2001:db8::1:2:3", "2001:db8::1:2:3"),
            (56, "2001:db8:0:ff7::1", "2001:db8:0:f00::"),
            (127, "2001:db8::3", "2001:db8::2"),
            (64, "::ffff:10.0.0.5", "10.0.0.5"),
            (128, "10.0.0.5", "10.0.0.5"),
        ] {
            assert_eq!(whole(length, address), client, "{address}/{length}");
        }
    }

    #[test]
    fn the_longest_prefix_claims_an_address_that_may_ask() {
        let group = |index| GroupId::new(index).unwrap();
        let claims = [
            ("10.1.0.0/16", 1),
            ("10.1.2.0/24", 2),
            ("10.1.2.3/32", 3),
            ("0.0.0.0/0", 4),
            ("fd00:1::/32", 1),
        ];
        let claims = claims.map(|(net, index)| (net.parse().unwrap(), group(index)));
        let clients = Clients::new(&nets(&["10.0.0.0/8", "fc00::/7"]), &claims);
        for (address, expected) in [
            ("10.1.0.1", Some(1)),
            ("10.1.2.1", Some(2)),
            ("10.1.2.3", Some(3)),
            ("10.1.2.4", Some(2)),
            ("10.1.3.0", Some(1)),
            ("10.2.0.0", Some(4)),
            ("192.0.2.1", None),
            ("fd00:1::7", Some(1)),
            ("fd00:2::7", Some(0)),
        ] {
            let found = clients.group(address.parse().unwrap()).map(GroupId::index);
            assert_eq!(found, expected, "{address}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_look_at_every_subnet(
            admitted in prop::collection::vec((any::<u32>(), 0..=32u8), 0..6),
            claims in prop::collection::btree_map((any::<u32>(), 0..=32u8), 1..20usize, 0..12),
            probes in prop::collection::vec(any::<u32>(), 20),
        ) {
            let net = |(address, prefix): (u32, u8)| {
                IpNet::new(IpAddr::V4(address.into()), prefix).unwrap().trunc()
            };
            let admitted: Vec<IpNet> = admitted.into_iter().map(net).collect();
            // Of two claims to one subnet the settings refuse the second.
            let claims: std::collections::BTreeMap<IpNet, GroupId> =
                claims.into_iter().map(|(at, index)| (net(at), GroupId::new(index).unwrap())).collect();
            let claims: Vec<(IpNet, GroupId)> = claims.into_iter().collect();
            let clients = Clients::new(&admitted, &claims);
            let edges = admitted.iter().chain(claims.iter().map(|(net, _)| net)).flat_map(|net| [net.network(), net.broadcast()]);
            for address in edges.chain(probes.into_iter().map(|bits| IpAddr::V4(bits.into()))) {
                let claimed = claims.iter().filter(|(net, _)| net.contains(&address)).max_by_key(|(net, _)| net.prefix_len());
                let expected = admitted.iter().any(|net| net.contains(&address))
                    .then(|| claimed.map_or(GroupId::DEFAULT, |(_, group)| *group));
                prop_assert_eq!(clients.group(address), expected);
            }
        }
    }
}
