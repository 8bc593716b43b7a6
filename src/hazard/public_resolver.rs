//! Public resolvers: a client that reaches one over HTTPS or TLS resolves any name and bypasses the allowlist.

use std::sync::LazyLock;

use super::suffix_table::{SuffixRow, SuffixTable};
use crate::wire::name::Name;

/// Hosts of well-known public resolvers and their operators. Names below a host belong to it too.
///
/// From the operators' documentation and curl's list of public DoH servers, as of 2026-11. The list is not complete,
/// but an allowlist also blocks resolvers that are missing here. The last rows are names whose answers make clients
/// look for another resolver.
#[rustfmt::skip]
const ROWS: &[SuffixRow] = &[
    ("cloudflare-dns.com", "Cloudflare"),
    ("one.one.one.one", "Cloudflare"),
    ("dns.cloudflare.com", "Cloudflare"),
    ("cloudflare-gateway.com", "Cloudflare"),
    ("dns.google", "Google"),
    ("dns.google.com", "Google"),
    ("dns.quad9.net", "Quad9"),
    ("dns9.quad9.net", "Quad9"),
    ("dns10.quad9.net", "Quad9"),
    ("dns11.quad9.net", "Quad9"),
    ("dns12.quad9.net", "Quad9"),
    ("doh.opendns.com", "Cisco OpenDNS"),
    ("dns.opendns.com", "Cisco OpenDNS"),
    ("doh.familyshield.opendns.com", "Cisco OpenDNS"),
    ("doh.sandbox.opendns.com", "Cisco OpenDNS"),
    ("dns.umbrella.com", "Cisco Umbrella"),
    ("doh.umbrella.com", "Cisco Umbrella"),
    ("adguard-dns.com", "AdGuard"),
    ("dns.adguard.com", "AdGuard"),
    ("dns-family.adguard.com", "AdGuard"),
    ("dns-unfiltered.adguard.com", "AdGuard"),
    ("dns.nextdns.io", "NextDNS"),
    ("dns.controld.com", "Control D"),
    ("freedns.controld.com", "Control D"),
    ("doh.cleanbrowsing.org", "CleanBrowsing"),
    ("security-filter-dns.cleanbrowsing.org", "CleanBrowsing"),
    ("family-filter-dns.cleanbrowsing.org", "CleanBrowsing"),
    ("adult-filter-dns.cleanbrowsing.org", "CleanBrowsing"),
    ("dns.mullvad.net", "Mullvad"),
    ("doh.mullvad.net", "Mullvad"),
    ("rethinkdns.com", "Rethink DNS"),
    ("dns0.eu", "dns0.eu"),
    ("joindns4.eu", "DNS4EU"),
    ("wikimedia-dns.org", "Wikimedia"),
    ("doh.dns.sb", "DNS.SB"),
    ("dot.sb", "DNS.SB"),
    ("doh.sb", "DNS.SB"),
    ("dns.switch.ch", "SWITCH"),
    ("odvr.nic.cz", "CZ.NIC"),
    ("dns.digitale-gesellschaft.ch", "Digitale Gesellschaft"),
    ("doh.applied-privacy.net", "Foundation for Applied Privacy"),
    ("dot1.applied-privacy.net", "Foundation for Applied Privacy"),
    ("doh.libredns.gr", "LibreDNS"),
    ("dot.libredns.gr", "LibreDNS"),
    ("doh.ffmuc.net", "Freifunk Munich"),
    ("dot.ffmuc.net", "Freifunk Munich"),
    ("dnsforge.de", "dnsforge"),
    ("dns.njal.la", "Njalla"),
    ("anycast.uncensoreddns.org", "UncensoredDNS"),
    ("unicast.uncensoreddns.org", "UncensoredDNS"),
    ("anycast.censurfridns.dk", "UncensoredDNS"),
    ("ordns.he.net", "Hurricane Electric"),
    ("dns.aa.net.uk", "Andrews & Arnold"),
    ("doh.xfinity.com", "Comcast"),
    ("dot.xfinity.com", "Comcast"),
    ("dns.alidns.com", "Alibaba"),
    ("doh.pub", "Tencent"),
    ("dot.pub", "Tencent"),
    ("dns.pub", "Tencent"),
    ("doh.360.cn", "Qihoo 360"),
    ("dot.360.cn", "Qihoo 360"),
    ("dns.twnic.tw", "TWNIC"),
    ("public.dns.iij.jp", "IIJ"),
    ("doh.li", "doh.li"),
    ("doh.tiar.app", "Tiarap"),
    ("dot.tiar.app", "Tiarap"),
    ("jp.tiar.app", "Tiarap"),
    ("dns.decloudus.com", "DeCloudUs"),
    ("dns.comss.one", "Comss.one"),
    ("pi-dns.com", "Pi-DNS"),
    ("ahadns.net", "AhaDNS"),
    ("doh.bortzmeyer.fr", "Bortzmeyer"),
    ("dns.hostux.net", "Hostux"),
    ("resolver.dnscrypt.info", "DNSCrypt"),
    ("doh.dns.apple.com", "Apple"),
    ("mask.icloud.com", "Apple, iCloud Private Relay"),
    ("mask-h2.icloud.com", "Apple, iCloud Private Relay"),
    ("mask.apple-dns.net", "Apple, iCloud Private Relay"),
    ("use-application-dns.net", "an answer lets Firefox use DNS over HTTPS"),
    ("resolver.arpa", "discovery of the upstream's DNS over HTTPS, RFC 9462"),
];

static TABLE: LazyLock<SuffixTable> = LazyLock::new(|| SuffixTable::new(ROWS.iter().copied()));

/// The operator of the public resolver at or above `name`.
pub fn public_resolver(name: &Name) -> Option<&'static str> {
    TABLE.at_or_above(name).map(|(_, operator)| operator)
}

/// The names of public resolvers, each with its operator.
pub fn public_resolvers() -> impl Iterator<Item = (Name, &'static str)> {
    let name = |host: &str| Name::from_labels(host.split('.').map(str::as_bytes)).ok();
    ROWS.iter().filter_map(move |(host, operator)| Some((name(host)?, *operator)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::rule::Pattern;

    #[test]
    fn every_row_is_a_host_written_once() {
        for (host, operator) in ROWS {
            assert_eq!(Pattern::parse(host).unwrap().to_string(), *host);
            assert!(!operator.is_empty(), "{host}");
            let name = Pattern::parse(host).unwrap().name().clone();
            let above = public_resolvers().filter(|(other, _)| name.is_within(other)).count();
            assert_eq!(above, 1, "{host} is listed once, and not below another row");
        }
        assert_eq!(public_resolvers().count(), ROWS.len());
    }

    #[test]
    fn names_below_a_resolver_are_its_too() {
        let of = |text: &str| public_resolver(Pattern::parse(text).unwrap().name());
        assert_eq!(of("dns.google"), Some("Google"));
        assert_eq!(of("mozilla.cloudflare-dns.com"), Some("Cloudflare"));
        assert_eq!(of("storage.google"), None);
        assert_eq!(of("notcloudflare-dns.com"), None);
    }
}
