//! Generates names likely to be judged wrongly: those of every rule, and names close to them.

use std::collections::BTreeSet;

use namegate::policy::Policy;

/// A fixed-seed generator, the same on every run.
struct Chance(u64);

impl Chance {
    /// A number below `end` (xorshift64).
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn label(&mut self) -> String {
        let length = 1 + self.below(9);
        (0..length).map(|_| char::from(b"abcdefghijklmnopqrstuvwxyz0123456789"[self.below(36)])).collect()
    }

    fn shout(&mut self, name: &str) -> String {
        name.chars().map(|c| if self.below(2) == 0 { c.to_ascii_uppercase() } else { c }).collect()
    }
}

/// At least `count` different names around the rules of `policy`, always the same.
pub(crate) fn names(policy: &Policy, count: usize) -> Vec<String> {
    let hosts: BTreeSet<String> = policy.iter().map(|rule| rule.pattern().name().to_string()).collect();
    let hosts: Vec<String> = hosts.into_iter().collect();
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let mut names: BTreeSet<String> = BTreeSet::new();
    for host in &hosts {
        names.extend([host.clone(), format!("evil{host}"), format!("{host}.evil.test"), format!("a.{host}")]);
        names.extend([format!("a.b.c.d.e.{host}"), chance.shout(host), host.replacen('.', "-", 1)]);
        names.extend(parents(host));
        // Every rule's name below every other's.
        names.extend(hosts.iter().map(|other| format!("{other}.{host}")));
    }
    while names.len() < count {
        let host = hosts[chance.below(hosts.len())].clone();
        let (one, other) = (chance.label(), chance.label());
        let name = match chance.below(9) {
            0 | 1 => format!("{one}.{host}"),
            2 => format!("{one}.{other}.{host}"),
            3 => format!("{one}{host}"),
            4 => format!("{host}.{one}"),
            5 => format!("{one}.{other}.test"),
            6 => host.split_once('.').map_or_else(|| one.clone(), |(_, parent)| format!("{one}.{parent}")),
            7 => host
                .split_once('.')
                .map_or_else(|| one.clone(), |(first, parent)| format!("{first}.{one}.{parent}")),
            _ => format!("{}.{}", chance.shout(&one), chance.shout(&host)),
        };
        names.insert(name);
    }
    names.retain(|name| name.len() < 250 && name.split('.').all(|label| label.len() < 64));
    names.into_iter().collect()
}

fn parents(host: &str) -> impl Iterator<Item = String> {
    std::iter::successors(Some(host), |name| name.split_once('.').map(|(_, parent)| parent))
        .map(str::to_owned)
}
