//! Settings of `[prove]`: the self-test of a running resolver.

use std::time::Duration;

use serde::Serialize;

use crate::config::values::plain;
use crate::config::{limits, serializers, value};
use crate::diagnostics::Section;
use crate::wire::name::Name;

/// Names that the running resolver queries to test itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProveSettings {
    /// Time between self-tests, 0s to 24h; 0s turns them off. namegate also tests after each reload and each grant. The
    /// result is the metric `namegate_canary_ok`. `namegate prove` tests much more, on demand, and writes a report.
    #[serde(serialize_with = "serializers::quantity")]
    pub interval: Duration,
    /// Names that must resolve, at most 32. Add one that your workspace cannot work without.
    #[serde(serialize_with = "serializers::names")]
    pub must_resolve: Vec<Name>,
    /// Names that must not resolve, at most 32. Keep `use-application-dns.net`: while it is blocked, Firefox does not
    /// turn on DNS over HTTPS by default.
    #[serde(serialize_with = "serializers::names")]
    pub must_not_resolve: Vec<Name>,
}

impl Default for ProveSettings {
    fn default() -> Self {
        let name = |text: &&str| Name::from_labels(text.split('.').map(str::as_bytes)).ok();
        Self {
            interval: limits::PROVE_INTERVAL.default,
            must_resolve: Vec::new(),
            must_not_resolve: MUST_NOT_RESOLVE.iter().filter_map(name).collect(),
        }
    }
}

/// A name that exists and is on no allowlist (RFC 2606), two public DNS-over-HTTPS resolvers that would bypass
/// namegate, and the name whose absence tells browsers not to use them (Mozilla Support, "Canary domain -
/// use-application-dns.net", read 2026-11).
const MUST_NOT_RESOLVE: [&str; 4] =
    ["example.com", "dns.google", "cloudflare-dns.com", "use-application-dns.net"];

pub(super) fn prove(mut section: Section<'_, '_>) -> ProveSettings {
    let default = ProveSettings::default();
    let prove = ProveSettings {
        interval: section.limited("interval", limits::PROVE_INTERVAL),
        must_resolve: canaries(&mut section, "must_resolve").unwrap_or(default.must_resolve),
        must_not_resolve: canaries(&mut section, "must_not_resolve").unwrap_or(default.must_not_resolve),
    };
    section.finish();
    prove
}

fn canaries(section: &mut Section<'_, '_>, key: &'static str) -> Option<Vec<Name>> {
    let names = section.set(key, value::canary)?;
    if let Some(beyond) = names.get(limits::CANARIES) {
        let message = format!("`prove.{key}`: too many names, at most {} are allowed", limits::CANARIES);
        section.faults.error(&beyond.span(), message, "keep the most important ones".to_owned());
    }
    Some(plain(names))
}
