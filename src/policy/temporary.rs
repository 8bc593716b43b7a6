//! [`Temporary`]: the grants, which allow names for a limited time whatever the rules say.

use std::fmt;
use std::net::IpAddr;
use std::time::{Instant, SystemTime};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::clients::canonical;
use super::rule::Pattern;
use super::suffix_index::SuffixIndex;
use crate::util::rfc3339;
use crate::wire::name::Name;

/// A temporary allow, with its author and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GrantFields")]
pub struct Grant {
    /// The names.
    #[serde(with = "pattern_as_text")]
    pub pattern: Pattern,
    /// The clients.
    #[serde(flatten)]
    pub scope: GrantScope,
    /// The reason; one line.
    pub reason: String,
    /// The author; may be empty.
    pub author: String,
    /// When it was issued.
    #[serde(with = "rfc3339::as_seconds")]
    pub since: SystemTime,
    /// When it expires.
    #[serde(with = "rfc3339::as_seconds")]
    pub until: SystemTime,
}

/// [`Grant`] as it is read. An unknown member is an error: a misspelled scope must not make a grant for all clients.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantFields {
    #[serde(with = "pattern_as_text")]
    pattern: Pattern,
    client: Option<String>,
    group: Option<String>,
    reason: String,
    author: String,
    #[serde(with = "rfc3339::as_seconds")]
    since: SystemTime,
    #[serde(with = "rfc3339::as_seconds")]
    until: SystemTime,
}

impl TryFrom<GrantFields> for Grant {
    type Error = ScopeError;

    fn try_from(fields: GrantFields) -> Result<Self, ScopeError> {
        let GrantFields { pattern, client, group, reason, author, since, until } = fields;
        let scope = GrantScope::new(client.as_deref(), group.as_deref())?;
        Ok(Self { pattern, scope, reason, author, since, until })
    }
}

/// The clients that a grant is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "ScopeFields", into = "ScopeFields")]
pub enum GrantScope {
    /// Every client.
    #[default]
    All,
    /// The clients with these addresses.
    Client(IpNet),
    /// The clients of the group with this name. A group that the settings no longer have has no clients.
    Group(String),
}

/// [`GrantScope`] as fields of a JSON object.
#[derive(Serialize, Deserialize)]
struct ScopeFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    group: Option<String>,
}

/// Why a text is no scope of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Not an address or prefix.
    #[error("`client` is not an IP address or prefix; help: write one such as 10.0.0.5 or 10.0.0.0/24")]
    NoAddress,
    /// A client and a group.
    #[error("`client` and `group` exclude each other; help: use one of them")]
    Both,
}

impl GrantScope {
    /// The scope of these fields.
    ///
    /// Errors: the client is no address or prefix, or both are given.
    pub fn new(client: Option<&str>, group: Option<&str>) -> Result<Self, ScopeError> {
        match (client, group) {
            (None, None) => Ok(Self::All),
            (Some(client), None) => {
                let net: Option<IpNet> = match client.trim().parse::<IpAddr>() {
                    Ok(address) => Some(address.to_canonical().into()),
                    Err(_) => client.trim().parse().ok().map(canonical),
                };
                // Bits beyond the prefix do not count, as in `allow_clients`.
                net.map(|net| Self::Client(net.trunc())).ok_or(ScopeError::NoAddress)
            }
            (None, Some(group)) => Ok(Self::Group(group.to_owned())),
            (Some(_), Some(_)) => Err(ScopeError::Both),
        }
    }

    /// True if it includes `client`, which belongs to `group`.
    pub fn includes(&self, client: IpAddr, group: &str) -> bool {
        match self {
            Self::All => true,
            Self::Client(net) => net.contains(&client.to_canonical()),
            Self::Group(name) => name == group,
        }
    }

    /// The client, as in JSON.
    pub fn client(&self) -> Option<String> {
        match self {
            Self::Client(net) if net.prefix_len() == net.max_prefix_len() => Some(net.addr().to_string()),
            Self::Client(net) => Some(net.to_string()),
            Self::All | Self::Group(_) => None,
        }
    }

    /// The group, as in JSON.
    pub fn group(&self) -> Option<&str> {
        match self {
            Self::Group(group) => Some(group),
            Self::All | Self::Client(_) => None,
        }
    }
}

impl TryFrom<ScopeFields> for GrantScope {
    type Error = ScopeError;

    fn try_from(ScopeFields { client, group }: ScopeFields) -> Result<Self, ScopeError> {
        Self::new(client.as_deref(), group.as_deref())
    }
}

impl From<GrantScope> for ScopeFields {
    fn from(scope: GrantScope) -> Self {
        Self { client: scope.client(), group: scope.group().map(str::to_owned) }
    }
}

/// ` for client 10.0.0.5`, ` for group build`, or nothing: follows the pattern in log lines and lists.
impl fmt::Display for GrantScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => Ok(()),
            Self::Client(_) => write!(f, " for client {}", self.client().unwrap_or_default()),
            Self::Group(group) => write!(f, " for group {group}"),
        }
    }
}

impl Grant {
    /// True if `other` is for the same names and clients, so that one replaces the other.
    pub fn is_same(&self, pattern: &Pattern, scope: &GrantScope) -> bool {
        self.pattern == *pattern && self.scope == *scope
    }
}

/// The grants, including expired ones that [`Temporary::expired`] has not removed yet.
#[derive(Clone, Debug, Default)]
pub struct Temporary {
    grants: Vec<Ending>,
    index: SuffixIndex,
}

/// Why a grant is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// There are already [`Temporary::MAX`] grants.
    #[error("grant limit reached ({}); revoke a grant first", Temporary::MAX)]
    Full,
    /// It has expired already.
    #[error("the grant expired before it took effect; grant it again")]
    Over,
}

/// A grant and its expiry on the monotonic clock.
#[derive(Clone, Debug)]
struct Ending {
    grant: Grant,
    at: Instant,
}

impl Temporary {
    /// Maximum grants at once. More names belong in an allowlist.
    pub const MAX: usize = 1000;

    /// The grants that have not expired at `now`, which is `time` on the wall clock. No grant outlasts its duration,
    /// even if the wall clock was set back.
    pub fn new(grants: impl IntoIterator<Item = Grant>, now: Instant, time: SystemTime) -> Self {
        let ending = |grant: Grant| {
            let left = grant.until.duration_since(time).ok().filter(|left| !left.is_zero())?;
            let given = grant.until.duration_since(grant.since).ok()?;
            Some(Ending { at: now.checked_add(left.min(given))?, grant })
        };
        Self::of(grants.into_iter().filter_map(ending).collect())
    }

    fn of(grants: Vec<Ending>) -> Self {
        Self { index: SuffixIndex::new(grants.iter().map(|ending| ending.grant.pattern.name())), grants }
    }

    /// A copy with `grant`, which replaces one for the same pattern and scope.
    ///
    /// Errors: there are too many grants, or it has expired already.
    pub fn with(&self, grant: Grant, now: Instant, time: SystemTime) -> Result<Self, NotGranted> {
        let others = self.without(&grant.pattern, &grant.scope).unwrap_or_else(|| self.clone());
        let mut grants: Vec<Ending> = others.grants.into_iter().filter(|ending| ending.at > now).collect();
        grants.push(Self::new([grant], now, time).grants.pop().ok_or(NotGranted::Over)?);
        if grants.len() > Self::MAX {
            return Err(NotGranted::Full);
        }
        Ok(Self::of(grants))
    }

    /// A copy without the grant for `pattern` and `scope`; `None` if there is no such grant.
    pub fn without(&self, pattern: &Pattern, scope: &GrantScope) -> Option<Self> {
        let others = self.grants.iter().filter(|ending| !ending.grant.is_same(pattern, scope));
        let grants: Vec<Ending> = others.cloned().collect();
        (grants.len() < self.grants.len()).then(|| Self::of(grants))
    }

    /// Returns a copy without expired grants, and the expired grants; `None` if none has expired. `now` and `time` are
    /// the same moment on the monotonic and on the wall clock. Both clocks count: the monotonic clock stops while the
    /// machine sleeps.
    pub fn expired(&self, now: Instant, time: SystemTime) -> Option<(Self, Vec<Grant>)> {
        let (left, ended): (Vec<Ending>, Vec<Ending>) =
            self.grants.iter().cloned().partition(|ending| ending.at > now && ending.grant.until > time);
        let ended: Vec<Grant> = ended.into_iter().map(|ending| ending.grant).collect();
        (!ended.is_empty()).then(|| (Self::of(left), ended))
    }

    /// When the next grant expires.
    pub fn next_end(&self) -> Option<Instant> {
        self.grants.iter().map(|ending| ending.at).min()
    }

    /// A grant that covers `name` at `now`, and whose clients `is_for` accepts.
    #[inline]
    pub fn find(&self, name: &Name, now: Instant, is_for: impl Fn(&GrantScope) -> bool) -> Option<&Grant> {
        let covers =
            |Ending { grant, at }: &Ending| *at > now && is_for(&grant.scope) && grant.pattern.matches(name);
        let found = self.index.find(name, |number| covers(&self.grants[number]))?;
        Some(&self.grants[found].grant)
    }

    /// All grants, including those that have just expired.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Grant> {
        self.grants.iter().map(|ending| &ending.grant)
    }

    /// Each grant and its expiry.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&Grant, Instant)> {
        self.grants.iter().map(|ending| (&ending.grant, ending.at))
    }

    /// Number of grants in force at `now`.
    pub fn in_force(&self, now: Instant) -> usize {
        self.grants.iter().filter(|ending| ending.at > now).count()
    }
}

/// Serde's form of a pattern: as in a rule.
pub(crate) mod pattern_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Pattern;

    pub(crate) fn serialize<S: Serializer>(pattern: &Pattern, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(pattern)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        Pattern::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn grant(pattern: &str, since: SystemTime, minutes: u32) -> Grant {
        let pattern = Pattern::parse(pattern).unwrap();
        let (reason, author) = ("incident 7".to_owned(), "on-call".to_owned());
        Grant { pattern, scope: GrantScope::All, reason, author, since, until: since + MINUTE * minutes }
    }

    fn any(_: &GrantScope) -> bool {
        true
    }

    fn name(text: &str) -> Name {
        Name::from_labels(text.split('.').map(str::as_bytes)).unwrap()
    }

    #[test]
    fn a_grant_ends_by_itself() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let empty = Temporary::default();
        let temporary = empty.with(grant("*.example.org", time, 60), now, time).unwrap();
        let temporary = temporary.with(grant("a.example.net", time, 1), now, time).unwrap();
        for (asked, after, allowed) in [
            ("b.example.org", Duration::ZERO, true),
            ("example.org", Duration::ZERO, false),
            ("b.example.org", MINUTE * 60 - Duration::from_millis(1), true),
            ("b.example.org", MINUTE * 60, false),
            ("a.example.net", MINUTE, false),
        ] {
            assert_eq!(
                temporary.find(&name(asked), now + after, any).is_some(),
                allowed,
                "{asked} after {after:?}"
            );
        }
        assert_eq!((temporary.in_force(now), temporary.in_force(now + MINUTE)), (2, 1));
        assert_eq!(temporary.next_end(), Some(now + MINUTE));
        let (left, ended) = temporary.expired(now + MINUTE, time).unwrap();
        assert_eq!((left.iter().len(), ended.len()), (1, 1));
        assert!(left.expired(now + MINUTE, time).is_none());
    }

    #[test]
    fn the_same_pattern_is_granted_once_and_can_be_taken_back() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let first = Temporary::default().with(grant("a.example", time, 60), now, time).unwrap();
        let longer = first.with(grant("A.Example.", time, 120), now, time).unwrap();
        assert_eq!(longer.iter().len(), 1);
        assert!(longer.find(&name("a.example"), now + MINUTE * 90, any).is_some());
        let pattern = Pattern::parse("a.example").unwrap();
        assert_eq!(longer.without(&pattern, &GrantScope::All).unwrap().iter().len(), 0);
        assert!(Temporary::default().without(&pattern, &GrantScope::All).is_none());
    }

    #[test]
    fn what_was_written_is_in_force_again_for_the_time_left() {
        let (now, time) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let written = serde_json::to_string(&grant("*.example.org", time, 60)).unwrap();
        assert_eq!(
            written,
            r#"{"pattern":"*.example.org","reason":"incident 7","author":"on-call","since":"2027-01-15T08:00:00Z","until":"2027-01-15T09:00:00Z"}"#
        );
        let read: Grant = serde_json::from_str(&written).unwrap();
        let temporary = Temporary::new([read], now, time + MINUTE * 50);
        assert!(temporary.find(&name("b.example.org"), now + MINUTE * 9, any).is_some());
        assert!(temporary.find(&name("b.example.org"), now + MINUTE * 10, any).is_none());
        let ended: Grant = serde_json::from_str(&written).unwrap();
        assert_eq!(Temporary::new([ended], now, time + MINUTE * 60).iter().len(), 0);
    }

    #[test]
    fn a_clock_set_back_makes_no_grant_longer() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let written = grant("a.example", time, 60);
        for (back, left) in [(0, 60), (30, 60), (24 * 60, 60)] {
            let temporary = Temporary::new([written.clone()], now, time - MINUTE * back);
            let after =
                |minutes: u32| temporary.find(&name("a.example"), now + MINUTE * minutes, any).is_some();
            assert!(after(left - 1) && !after(left), "set back by {back} minutes");
        }
    }

    #[test]
    fn a_grant_ends_by_the_wall_clock_as_well() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let temporary =
            Temporary::new([grant("a.example", time, 60), grant("b.example", time, 90)], now, time);
        // The machine slept for an hour, or its clock was set forward.
        let (left, ended) = temporary.expired(now + MINUTE, time + MINUTE * 61).unwrap();
        assert_eq!(ended.iter().map(|grant| grant.pattern.to_string()).collect::<Vec<_>>(), ["a.example"]);
        assert_eq!(left.iter().len(), 1);
        assert!(temporary.expired(now + MINUTE, time - MINUTE * 61).is_none(), "set back it ends none");
    }

    #[test]
    fn a_grant_whose_time_has_passed_takes_no_place() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let standing = Temporary::new([grant("a.example", time, 60)], now, time);
        let late = grant("a.example", time - MINUTE * 5, 5);
        assert_eq!(standing.with(late, now, time).unwrap_err(), NotGranted::Over);
        assert!(standing.find(&name("a.example"), now + MINUTE * 59, any).is_some());
    }

    #[test]
    fn a_grant_that_has_ended_hides_no_other() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let others = (0..100).map(|index| grant(&format!("h{index}.example"), time, 60));
        let narrow =
            ["a.b.example.org", "*.b.example.org", ".b.example.org"].map(|text| grant(text, time, 1));
        for wide in ["*.example.org", ".a.b.example.org", ".example.org"] {
            let grants = others.clone().chain(narrow.clone()).chain([grant(wide, time, 60)]);
            let temporary = Temporary::new(grants, now, time);
            let found = temporary.find(&name("a.b.example.org"), now + MINUTE * 2, any);
            assert_eq!(found.map(|grant| grant.pattern.to_string()), Some(wide.to_owned()));
        }
    }

    #[test]
    #[ignore = "a measurement: cargo test --release --lib finding_a_grant -- --ignored --nocapture"]
    #[allow(clippy::print_stdout, reason = "a measurement")]
    fn finding_a_grant_takes_its_time() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let (few, many) = ("a.example", vec!["a"; 100].join("."));
        for grants in [0, 1, 10, 1000] {
            let all = (0..grants).map(|index| grant(&format!("*.h{index}.example"), time, 60));
            let temporary = Temporary::new(all, now, time);
            for asked in [few, &many] {
                let asked = name(asked);
                let start = Instant::now();
                let found =
                    (0..100_000).filter(|_| temporary.find(std::hint::black_box(&asked), now, any).is_some());
                assert_eq!(found.count(), 0);
                let each = start.elapsed() / 100_000;
                let one_by_one = |asked: &Name| {
                    temporary
                        .grants
                        .iter()
                        .any(|ending| ending.at > now && ending.grant.pattern.matches(asked))
                };
                let start = Instant::now();
                assert!(!(0..1000).any(|_| one_by_one(std::hint::black_box(&asked))));
                let before = start.elapsed() / 1000;
                println!(
                    "{grants} grants, {} labels: {each:?}, one by one {before:?}",
                    asked.labels().count()
                );
            }
        }
    }

    #[test]
    #[ignore = "a measurement: cargo test --release --lib finding_a_clients_grant -- --ignored --nocapture"]
    #[allow(clippy::print_stdout, reason = "a measurement")]
    fn finding_a_clients_grant_takes_its_time() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let of_client = |index: u32| {
            let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 + index).to_string();
            Grant { scope: GrantScope::new(Some(&client), None).unwrap(), ..grant("a.example", time, 60) }
        };
        for grants in [1, 10, 1000] {
            let temporary = Temporary::new((0..grants).map(of_client), now, time);
            let client = std::net::Ipv4Addr::from_bits(0x0b00_0000).into();
            let is_for = |scope: &GrantScope| scope.includes(client, "default");
            let start = Instant::now();
            let asked = name("a.example");
            let found =
                (0..10_000).filter(|_| temporary.find(std::hint::black_box(&asked), now, is_for).is_some());
            assert_eq!(found.count(), 0);
            println!("{grants} grants for one name, each of another client: {:?}", start.elapsed() / 10_000);
        }
    }

    #[test]
    fn a_scope_includes_its_clients_only() {
        for (client, group, asks, of_group, included) in [
            (None, None, "192.0.2.1", "default", true),
            (Some("10.0.0.5"), None, "10.0.0.5", "default", true),
            (Some("10.0.0.5"), None, "::ffff:10.0.0.5", "default", true),
            (Some("::ffff:10.0.0.5"), None, "10.0.0.5", "default", true),
            (Some("10.0.0.5"), None, "10.0.0.6", "default", false),
            (Some("10.0.0.77/24"), None, "10.0.0.1", "default", true),
            (Some("10.0.0.77/24"), None, "2001:db8::1", "default", false),
            (Some("::ffff:10.0.0.0/120"), None, "10.0.0.5", "default", true),
            (Some("::ffff:10.0.0.5/128"), None, "10.0.0.6", "default", false),
            (Some("2001:db8::/64"), None, "2001:db8::1", "build", true),
            (None, Some("build"), "10.0.0.5", "build", true),
            (None, Some("build"), "10.0.0.5", "default", false),
        ] {
            let scope = GrantScope::new(client, group).unwrap();
            assert_eq!(scope.includes(asks.parse().unwrap(), of_group), included, "{scope:?} {asks}");
        }
        for (client, group) in
            [(Some(""), None), (Some("10.0.0.0/33"), None), (Some("10.0.0.1"), Some("build"))]
        {
            assert!(GrantScope::new(client, group).is_err(), "{client:?} {group:?}");
        }
    }

    #[test]
    fn there_is_room_for_so_many() {
        let (now, time) = (Instant::now(), SystemTime::now());
        let many = (0..Temporary::MAX).map(|index| grant(&format!("h{index}.example"), time, 1));
        let full = Temporary::new(many, now, time);
        let one_more = grant("one-more.example", time, 1);
        assert_eq!(full.with(one_more, now, time).unwrap_err(), NotGranted::Full);
        assert!(full.with(grant("h1.example", time, 5), now, time).is_ok());
        let later = now + MINUTE;
        assert!(full.with(grant("one-more.example", time + MINUTE, 1), later, time + MINUTE).is_ok());
    }
}
