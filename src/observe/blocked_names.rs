//! [`BlockedNames`]: blocked names with their clients and times, in fixed memory.
//!
//! The running resolver collects them for `namegate learn`, which uses the same type for a query log.

use std::collections::HashMap;
use std::time::SystemTime;

use super::client::ShownClient;
use super::few::Few;
use crate::policy::rule::{Pattern, Scope};
use crate::wire::code::Type;
use crate::wire::name::Name;

/// Lookups of one blocked name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Lookups seen; in a flood only a sample of all.
    pub count: u64,
    /// Time of the first lookup.
    pub first: SystemTime,
    /// Time of the last lookup.
    pub last: SystemTime,
    /// A deny rule blocked the last lookup; otherwise the name is on no list.
    pub denied: bool,
    /// Clients, as far as `log.client` lets them be shown.
    pub clients: Few<ShownClient>,
    /// Query types.
    pub types: Few<Type>,
}

impl Sighting {
    /// One lookup.
    pub fn once(time: SystemTime, client: Option<ShownClient>, qtype: Type, denied: bool) -> Self {
        let (clients, types) = (Few::new(client), Few::new([qtype]));
        Self { count: 1, first: time, last: time, denied, clients, types }
    }

    /// Adds the lookups of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        if other.last >= self.last {
            (self.last, self.denied) = (other.last, other.denied);
        }
        self.clients.merge(&other.clients);
        self.types.merge(&other.types);
    }
}

/// Blocked names, up to a fixed number. When it is reached, a quarter is dropped: the names with the fewest lookups
/// and, among equals, those not seen for longest.
pub struct BlockedNames {
    capacity: usize,
    names: HashMap<Box<[u8]>, BlockedEntry>,
    turn: u64,
    forgotten: u64,
    no_hosts: u64,
}

struct BlockedEntry {
    sighting: Sighting,
    /// Value of `BlockedNames::turn` at the last lookup.
    turn: u64,
}

impl BlockedEntry {
    fn rank(&self) -> (u64, u64) {
        (self.sighting.count, self.turn)
    }
}

impl BlockedNames {
    /// Starts empty; stores at most `capacity` names of about half a KiB each.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, names: HashMap::new(), turn: 0, forgotten: 0, no_hosts: 0 }
    }

    /// Adds lookups of a name. A name that no rule can express is only counted.
    pub fn add(&mut self, name: &Name, sighting: &Sighting) {
        self.turn += 1;
        if let Some(kept) = self.names.get_mut(name.as_bytes()) {
            kept.sighting.merge(sighting);
            kept.turn = self.turn;
            return;
        }
        if !is_host(name) {
            self.no_hosts += sighting.count;
            return;
        }
        if self.names.len() >= self.capacity {
            self.forget_a_quarter();
        }
        self.names
            .insert(name.as_bytes().into(), BlockedEntry { sighting: sighting.clone(), turn: self.turn });
    }

    fn forget_a_quarter(&mut self) {
        let mut ranks: Vec<(u64, u64)> = self.names.values().map(BlockedEntry::rank).collect();
        let quarter = ranks.len() / 4;
        let Some(_) = ranks.get(quarter) else { return };
        let (_, last, _) = ranks.select_nth_unstable(quarter);
        // Turns are unique, so exactly `quarter + 1` names rank at or below `last`.
        self.names.retain(|_, kept| kept.rank() > *last);
        self.forgotten += quarter as u64 + 1;
    }

    /// The stored names, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Name, &Sighting)> {
        self.names.iter().filter_map(|(name, kept)| Some((Name::parse(name).ok()?, &kept.sighting)))
    }

    /// Number of names dropped to make room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Lookups of names that are not host names, so that no rule can express them.
    pub fn no_hosts(&self) -> u64 {
        self.no_hosts
    }

    /// Adds the losses of another instance that no longer exists.
    pub fn add_losses(&mut self, forgotten: u64, no_hosts: u64) {
        self.forgotten += forgotten;
        self.no_hosts += no_hosts;
    }
}

/// True if a rule can express exactly this name. A label `*` would mean something else in a rule. Names that need
/// escapes (control characters, dots within a label) come from faults and tunnels, not from hosts.
fn is_host(name: &Name) -> bool {
    let shown = name.to_string();
    !shown.contains('\\')
        && Pattern::parse(&shown)
            .is_ok_and(|pattern| pattern.scope() == Scope::Exact && pattern.name() == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const A: Type = Type(1);
    const AAAA: Type = Type(28);

    fn name(text: &str) -> Name {
        Name::from_labels(text.split('.').map(str::as_bytes)).unwrap()
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn once(second: u64) -> Sighting {
        Sighting::once(at(second), None, A, false)
    }

    #[test]
    fn what_is_seen_of_one_name_adds_up() {
        let mut names = BlockedNames::new(10);
        let client = |text: &str| text.parse().ok();
        names.add(&name("A.example"), &Sighting::once(at(5), client("10.0.0.4"), A, false));
        names.add(&name("a.example"), &Sighting::once(at(9), client("10.0.0.5"), AAAA, true));
        names.add(&name("a.example"), &Sighting::once(at(3), client("10.0.0.4"), A, false));
        let all: Vec<(Name, &Sighting)> = names.iter().collect();
        let [(only, seen)] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!(only.to_string(), "a.example");
        assert_eq!((seen.count, seen.first, seen.last, seen.denied), (3, at(3), at(9), true));
        assert_eq!(
            seen.clients.kept().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.4", "10.0.0.5"]
        );
        assert_eq!(seen.types.kept(), [A, AAAA]);
    }

    #[test]
    fn a_flood_of_names_does_not_drive_out_the_frequent() {
        let mut names = BlockedNames::new(64);
        for turn in 0..5 {
            names.add(&name("wanted.example"), &once(turn));
        }
        for number in 0..10_000 {
            names.add(&name(&format!("r{number}.flood.example")), &once(10));
            assert!(names.iter().count() <= 64);
        }
        assert!(names.iter().any(|(name, seen)| name.to_string() == "wanted.example" && seen.count == 5));
        assert!(names.iter().any(|(name, _)| name.to_string() == "r9999.flood.example"));
        assert_eq!(names.forgotten() + names.iter().count() as u64, 10_001);
    }

    #[test]
    fn what_no_rule_can_name_is_counted() {
        let mut names = BlockedNames::new(4);
        let labels: [&[&[u8]]; 6] = [
            &[b"*", b"example"],
            &[b"a.b", b"example"],
            &[b"\x1b[2J", b"example"],
            &[b"a b"],
            &[],
            &[b"10", b"0", b"0", b"4"],
        ];
        for labels in labels {
            names.add(&Name::from_labels(labels.iter().copied()).unwrap(), &once(1));
        }
        assert_eq!((names.no_hosts(), names.iter().count()), (6, 0));
        names.add(&name("_srv.a-b.example"), &once(1));
        assert_eq!(names.iter().count(), 1);
    }
}
