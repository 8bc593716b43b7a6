//! [`unwritable`]: the names that a target's format cannot write. Every target's names pass through it.

use super::Target;
use crate::wire::name::Name;

/// Longest name, in wire bytes, that fits between `*.` and the zone name `rpz.namegate.` (RFC 1035 section 2.3.4: 255).
/// Most servers accept zone names of about that length.
const MAX_TRIGGER: usize = 255 - 2 - 13;

/// Why `target` cannot write `name`; `None` if it can. If it cannot write a name, it cannot write a name below it either,
/// except for names of one label.
///
/// A label may contain any byte. In the formats, other characters than those of host names separate names, begin
/// comments, are wildcards or are refused, and each format has its own escapes or none.
pub(super) fn unwritable(target: Target, name: &Name) -> Option<&'static str> {
    let all = |is_fit: fn(&[u8]) -> bool| name.labels().all(is_fit);
    let is_written = match target {
        Target::Rpz => {
            if name.wire_len() > MAX_TRIGGER {
                return Some("its name would be too long in a response policy zone");
            }
            return (!all(is_trigger)
                || name.labels().last().is_some_and(|label| label.starts_with(b"rpz-")))
            .then_some("a response policy zone would give its name another meaning");
        }
        Target::Route53 => {
            all(|label| label.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'))
        }
        Target::ClusterNetworkPolicy => all(begins_and_ends_plainly) && name.labels().count() > 1,
        Target::AzureFirewall
        | Target::AzureDnsPolicy
        | Target::AzureMl
        | Target::AzureAiFoundry
        | Target::Unbound
        | Target::Dnsmasq
        | Target::Coredns
        | Target::Cilium
        | Target::Ztdns => all(is_plain),
    };
    let is_like_address = || name.labels().last().is_some_and(|label| label.iter().all(u8::is_ascii_digit));
    match target {
        _ if is_written && !is_like_address() => None,
        Target::Route53 => Some("in this format, a domain consists of letters, digits and hyphens"),
        Target::ClusterNetworkPolicy => Some(
            "in this format, names have two labels or more, of letters, digits, hyphens and underscores, which \
             begin and end with a letter or digit",
        ),
        _ => Some(
            "in this format, names consist of letters, digits, hyphens and underscores, and do not end in a number",
        ),
    }
}

fn is_plain(label: &[u8]) -> bool {
    label.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
}

fn begins_and_ends_plainly(label: &[u8]) -> bool {
    let is_alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    is_plain(label) && is_alphanumeric(label.first()) && is_alphanumeric(label.last())
}

/// True if a master file needs no escapes for the label, and it is no wildcard.
fn is_trigger(label: &[u8]) -> bool {
    label != b"*" && label.iter().all(|byte| byte.is_ascii_graphic() && !b".\\\"'();@$".contains(byte))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::ValueEnum;

    use super::*;
    use crate::policy::rule::Pattern;

    #[test]
    fn names_that_a_format_would_misread_are_not_written() {
        let rpz = &[Target::Rpz][..];
        let underscores: Vec<Target> = Target::value_variants()
            .iter()
            .copied()
            .filter(|target| !matches!(target, Target::Route53 | Target::ClusterNetworkPolicy))
            .collect();
        let long = vec!["a".repeat(60); 4].join(".");
        let others: Vec<Target> =
            Target::value_variants().iter().copied().filter(|target| *target != Target::Rpz).collect();
        for (host, able) in [
            ("a-b.example", Target::value_variants()),
            ("_tcp.example", &underscores),
            (&long, &others),
            ("a+b.example", rpz),
            (r"0\/25.2.0.192.in-addr.arpa", rpz),
            (r"a\*b.example", rpz),
            (r"a\#b.example", rpz),
            (r"\*.example", &[]),
            (r"a.\*.example", &[]),
            (r"a\/evil.com", rpz),
            (r"a\.b.example", &[]),
            (r"a\010b.example", &[]),
            (r"a\032b.example", &[]),
            (r"a\255b.example", &[]),
            (r"a\'b.example", &[]),
            (r#"a\"b.example"#, &[]),
            (r"a\;b.example", &[]),
            (r"a\\b.example", &[]),
            ("32.1.2.0.192.rpz-ip", &others),
        ] {
            let name = Pattern::parse(host).unwrap().name().clone();
            let found: Vec<Target> = Target::value_variants()
                .iter()
                .copied()
                .filter(|target| unwritable(*target, &name).is_none())
                .collect();
            assert_eq!(found, able, "{host}");
        }
        let address = Name::from_labels("10.0.0.4".split('.').map(str::as_bytes)).unwrap();
        assert!(unwritable(Target::AzureFirewall, &address).is_some());
    }
}
