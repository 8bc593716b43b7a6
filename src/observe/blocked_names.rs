//! [`BlockedNames`]: which names were asked for and are not allowed, by whom and when, within fixed memory.
//!
//! The running gate keeps them for `namegate learn`, which keeps those of a query log in the same way.

use std::collections::HashMap;
use std::time::SystemTime;

use super::client::ShownClient;
use super::few::Few;
use crate::policy::rule::{Pattern, Scope};
use crate::wire::code::Type;
use crate::wire::name::Name;

/// What is known of a name that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Lookups told of; in a flood that is a part of all.
    pub count: u64,
    /// The first of them.
    pub first: SystemTime,
    /// The last of them.
    pub last: SystemTime,
    /// A rule denied the last of them, where the name is else on no list.
    pub denied: bool,
    /// Who asked, as far as the settings let it be shown.
    pub clients: Few<ShownClient>,
    /// The types asked for.
    pub types: Few<Type>,
}

impl Sighting {
    /// One lookup.
    pub fn once(time: SystemTime, client: Option<ShownClient>, qtype: Type, denied: bool) -> Self {
        let (clients, types) = (Few::new(client), Few::new([qtype]));
        Self { count: 1, first: time, last: time, denied, clients, types }
    }

    /// Adds what else is known.
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

/// Names that are not allowed. When there are too many, the quarter that was asked for least, and of those the longest
/// ago, is forgotten.
pub struct BlockedNames {
    capacity: usize,
    names: HashMap<Box<[u8]>, Kept>,
    turn: u64,
    forgotten: u64,
    no_hosts: u64,
}

struct Kept {
    sighting: Sighting,
    /// When it was last added to, in turns of the whole.
    turn: u64,
}

impl Kept {
    fn rank(&self) -> (u64, u64) {
        (self.sighting.count, self.turn)
    }
}

impl BlockedNames {
    /// No names yet; at most `capacity` are kept, of half a KiB each.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, names: HashMap::new(), turn: 0, forgotten: 0, no_hosts: 0 }
    }

    /// Adds what was seen of a name. One that no rule can be written for is only counted.
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
        self.names.insert(name.as_bytes().into(), Kept { sighting: sighting.clone(), turn: self.turn });
    }

    fn forget_a_quarter(&mut self) {
        let mut ranks: Vec<(u64, u64)> = self.names.values().map(Kept::rank).collect();
        let quarter = ranks.len() / 4;
        let Some(_) = ranks.get(quarter) else { return };
        let (_, last, _) = ranks.select_nth_unstable(quarter);
        // No two have the same turn, so that just as many are at or below it.
        self.names.retain(|_, kept| kept.rank() > *last);
        self.forgotten += quarter as u64 + 1;
    }

    /// The names kept, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Name, &Sighting)> {
        self.names.iter().filter_map(|(name, kept)| Some((Name::parse(name).ok()?, &kept.sighting)))
    }

    /// How often a name was forgotten for want of room.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Lookups of names that are no host names: no rule can be written for them as they are shown.
    pub fn no_hosts(&self) -> u64 {
        self.no_hosts
    }

    /// Counts what another, which is no longer there, forgot and could not keep.
    pub fn add_losses(&mut self, forgotten: u64, no_hosts: u64) {
        self.forgotten += forgotten;
        self.no_hosts += no_hosts;
    }
}

/// True where a rule can name it as it is shown. A label `*` is none that a rule means by it, and what takes an escape (control
/// characters, dots within a label) is made by faults and tunnels, not by hosts.
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
