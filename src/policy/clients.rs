//! [`Clients`]: who may ask at all.

use std::net::IpAddr;

use ipnet::IpNet;

/// Subnets whose addresses may ask; everyone else is refused.
#[derive(Clone, Debug)]
pub struct Clients {
    v4: Box<[Subnet<u32>]>,
    v6: Box<[Subnet<u128>]>,
}

/// A subnet as it is compared: the bits that count, and what they must be.
#[derive(Clone, Copy, Debug)]
struct Subnet<T> {
    mask: T,
    prefix: T,
}

impl Clients {
    /// The clients of all `subnets`.
    pub fn new(subnets: &[IpNet]) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for subnet in subnets {
            match subnet {
                IpNet::V4(net) => {
                    v4.push(Subnet { mask: net.netmask().to_bits(), prefix: net.network().to_bits() });
                }
                IpNet::V6(net) => {
                    v6.push(Subnet { mask: net.netmask().to_bits(), prefix: net.network().to_bits() });
                }
            }
        }
        Self { v4: v4.into(), v6: v6.into() }
    }

    /// True where `address` may ask. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.5`) counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                self.v4.iter().any(|subnet| address.to_bits() & subnet.mask == subnet.prefix)
            }
            IpAddr::V6(address) => {
                self.v6.iter().any(|subnet| address.to_bits() & subnet.mask == subnet.prefix)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_widest_and_the_narrowest_subnets() {
        let all = Clients::new(&["0.0.0.0/0".parse().unwrap(), "::1/128".parse().unwrap()]);
        for (address, expected) in [("255.1.2.3", true), ("::1", true), ("::2", false)] {
            assert_eq!(all.contains(address.parse().unwrap()), expected, "{address}");
        }
        // Bits beyond the prefix do not count, however they were written.
        let loose = Clients::new(&["192.168.7.9/16".parse().unwrap()]);
        assert!(loose.contains("192.168.1.1".parse().unwrap()));
        assert!(!Clients::new(&[]).contains("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn mapped_addresses_are_the_addresses_they_carry() {
        let clients = Clients::new(&["10.0.0.0/8".parse().unwrap(), "fc00::/7".parse().unwrap()]);
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
            assert_eq!(clients.contains(address.parse().unwrap()), expected, "{address}");
        }
    }
}
