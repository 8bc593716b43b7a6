//! [`Clients`]: which clients may query, and the group of each.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

/// `net`, as IPv4 if it is a subnet of IPv4-mapped addresses (`::ffff:10.0.0.0/104`): clients are looked up by their
/// canonical address.
pub(crate) fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(v6) = net else { return net };
    let (address, prefix) = (v6.addr().to_ipv4_mapped(), v6.prefix_len().checked_sub(96));
    let v4 = address.zip(prefix).and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(net, IpNet::V4)
}

/// Index of a client group in [`super::Policies::groups`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(u8);

/// Maximum client groups, including the default group.
pub const MAX_GROUPS: usize = 250;

impl GroupId {
    /// The default group: clients in no other group.
    pub const DEFAULT: Self = Self(0);

    /// The group at `index`; `None` from [`MAX_GROUPS`] on.
    pub fn new(index: usize) -> Option<Self> {
        u8::try_from(index).ok().filter(|_| index < MAX_GROUPS).map(Self)
    }

    /// Its index.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// The group of every address; addresses without a group are refused.
///
/// [`Clients::new`] splits the address space at the start and the end of every subnet, so a lookup is one binary search
/// for any number of groups.
#[derive(Clone, Debug)]
pub struct Clients {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
    prefix: ClientPrefix,
}

/// The address space as adjacent ranges: each begins at its start and ends before the next.
#[derive(Clone, Debug)]
struct Ranges<T> {
    starts: Box<[T]>,
    groups: Box<[Option<GroupId>]>,
}

impl Clients {
    /// Addresses in `admitted` may query. Each belongs to the group with the longest matching prefix, else to
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

    /// Sets the IPv6 prefix length that counts as one client.
    #[must_use]
    pub fn with_prefix(self, prefix: ClientPrefix) -> Self {
        Self { prefix, ..self }
    }

    /// The length of the IPv6 prefix that counts as one client.
    pub fn prefix(&self) -> ClientPrefix {
        self.prefix
    }

    /// The group of `address`; `None` if it may not query. An IPv4-mapped address (`::ffff:10.0.0.5`) counts as the
    /// IPv4 address.
    pub fn group(&self, address: IpAddr) -> Option<GroupId> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.find(address.to_bits()),
            IpAddr::V6(address) => self.v6.find(address.to_bits()),
        }
    }
}

impl<T: Copy + Ord> Ranges<T> {
    /// Cuts the address space, which begins at `zero`. A subnet is its first and last address and its prefix length.
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
        // The first range begins at zero, so one always matches.
        let after = self.starts.partition_point(|start| *start <= address);
        self.groups[after.saturating_sub(1)]
    }
}

/// The client that a query counts for in upstream slots and wait queues. A UDP query without a valid cookie may have a
/// forged address. So it counts apart from verified queries of the same client, and cannot use up their slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareHolder {
    client: WholeClient,
    is_proven: bool,
}

impl ShareHolder {
    /// The holder for queries of `client`; `is_proven`: its address is verified.
    pub fn new(client: WholeClient, is_proven: bool) -> Self {
        Self { client, is_proven }
    }
}

/// The length of the IPv6 prefix that counts as one client, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPrefix(u8);

/// One client: an IPv4 address or an IPv6 prefix. Identified by its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WholeClient(IpAddr);

impl ClientPrefix {
    /// A prefix of `length` bits, at most 128.
    pub fn new(length: u8) -> Self {
        Self(length.min(128))
    }

    /// The addresses of the client with `address`.
    pub fn net(self, address: IpAddr) -> IpNet {
        let whole = self.whole(address).address();
        let length = if whole.is_ipv4() { 32 } else { self.0 };
        IpNet::new(whole, length).unwrap_or_else(|_| whole.into())
    }

    /// The client with `address`.
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

/// A /64: a single host can use every address in its subnet (RFC 7421).
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
        // Bits beyond the prefix do not count.
        assert!(is_admitted(&Clients::new(&nets(&["192.168.7.9/16"]), &[]), "192.168.1.1"));
        assert!(!is_admitted(&Clients::new(&[], &[]), "127.0.0.1"));
    }

    #[test]
    fn ipv4_mapped_address_counts_as_ipv4() {
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
            // The settings refuse a second claim to the same subnet.
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
