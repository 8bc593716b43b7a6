//! [`Clients`]: who may ask at all.

use std::net::IpAddr;

use ipnet::IpNet;

/// Subnets whose addresses may ask; everyone else is refused.
#[derive(Clone, Debug)]
pub struct Clients {
    subnets: Box<[IpNet]>,
}

impl Clients {
    /// The clients of all `subnets`.
    pub fn new(subnets: &[IpNet]) -> Self {
        Self { subnets: subnets.into() }
    }

    /// True where `address` may ask. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.5`) counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.subnets.iter().any(|subnet| subnet.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

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
        ] {
            assert_eq!(clients.contains(address.parse().unwrap()), expected, "{address}");
        }
    }
}
