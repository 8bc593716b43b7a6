//! [`Expect`]: the kind of address that answers for a rule's names should have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Serialize;
use strum::VariantArray;

use crate::util::label::Label;

/// The kind of address that answers for a rule's names should have.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, strum::IntoStaticStr, strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Expect {
    /// Any address.
    #[default]
    Any,
    /// Private addresses only. For Private Link names: a public address means that the private DNS zone is not linked.
    Private,
    /// Public addresses only: a private address may be a DNS rebinding attack.
    Public,
}

impl Expect {
    /// This kind as two bits.
    pub(super) fn bits(self) -> u8 {
        self as u8
    }

    /// Inverse of [`Expect::bits`].
    pub(super) fn of_bits(bits: u8) -> Self {
        match bits & 3 {
            1 => Self::Private,
            2 => Self::Public,
            _ => Self::Any,
        }
    }

    /// True if `address` is of the expected kind.
    pub fn admits(self, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Private => is_private(address),
            Self::Public => !is_private(address),
        }
    }
}

impl FromStr for Expect {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::VARIANTS
            .iter()
            .copied()
            .find(|expect| expect.label() == text)
            .ok_or("write `private`, `public` or `any`")
    }
}

/// True for addresses that are reachable only within a network or a machine: those that the registries of RFC 6890 call
/// not globally reachable and that a host can have. Documentation and benchmarking ranges count as public: no host has
/// them.
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => is_private_v6(address),
    }
}

/// Azure's platform services, reachable only from within a virtual network (Microsoft Learn, "What is IP address
/// 168.63.129.16?").
const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);

fn is_private_v4(address: Ipv4Addr) -> bool {
    // 100.64.0.0/10 (RFC 6598): used behind NAT by carriers, and by some Azure services.
    let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
    address.is_private()
        || address.is_multicast()
        || address == AZURE_HOST
        || address.is_loopback()
        || address.is_link_local()
        || address.octets()[0] == 0
        || is_shared
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |at: usize| {
        let [high, low] = [segments[at], segments[at + 1]].map(u32::from);
        is_private_v4(Ipv4Addr::from_bits(high << 16 | low))
    };
    let is_inside = match segments {
        // Local-use NAT64 (RFC 8215), well-known NAT64 prefix (RFC 6052), IPv4-compatible (RFC 4291), 6to4 (RFC 3056).
        [0x64, 0xff9b, 1, ..] => true,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0, 0, 0, 0, 0, 0, ..] => embedded(6),
        [0x2002, ..] => embedded(1),
        // Site-local addresses (RFC 3879).
        [first, ..] => first & 0xffc0 == 0xfec0,
    };
    is_inside
        || address.is_multicast()
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_of_one_kind_or_the_other() {
        for (address, private) in [
            ("10.1.0.4", true),
            ("172.16.0.1", true),
            ("172.32.0.1", false),
            ("192.168.1.1", true),
            ("127.0.0.1", true),
            ("169.254.169.254", true),
            ("100.64.0.1", true),
            ("100.128.0.1", false),
            ("0.0.0.0", true),
            ("20.42.65.84", false),
            ("::ffff:10.1.0.4", true),
            ("fd00::4", true),
            ("fe80::1", true),
            ("::1", true),
            ("2603:1061:f::1", false),
            ("168.63.129.16", true),
            ("239.1.1.1", true),
            ("64:ff9b:1::a00:1", true),
            ("64:ff9b::a00:1", true),
            ("64:ff9b::1442:4154", false),
            ("2002:a00:1::", true),
            ("2002:1442:4154::", false),
            ("fec0::1", true),
            ("::127.0.0.1", true),
            ("ff02::1", true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Expect::Private.admits(address), private, "{address}");
            assert_eq!(Expect::Public.admits(address), !private, "{address}");
            assert!(Expect::Any.admits(address));
        }
    }

    #[test]
    fn what_is_expected_survives_as_bits_and_as_text() {
        for expect in Expect::VARIANTS.iter().copied() {
            assert_eq!(Expect::of_bits(expect.bits()), expect);
            assert_eq!(expect.label().parse(), Ok(expect));
        }
        assert!("Private".parse::<Expect>().is_err());
    }
}
