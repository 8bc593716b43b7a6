//! [`SuffixIndex`]: finds which of a few hundred names may equal or contain a queried name, without checking each.

use super::trie::SuffixHasher;
use crate::wire::name::Name;

/// Up to this many names are checked one by one: that is cheaper than hashing the suffixes of the queried name.
const FEW: usize = 4;

/// Names by hash. A hash only finds a candidate; the caller compares.
///
/// Unlike the trie it finds every candidate, not only the most specific one, so an expired grant hides no other.
#[derive(Clone, Debug, Default)]
pub(super) struct SuffixIndex {
    /// `None` without names, as in most policies.
    hasher: Option<SuffixHasher>,
    /// Hash and number of each name, sorted.
    entries: Box<[(u32, u32)]>,
}

/// The tag of the root, which has no suffix to hash.
const ROOT: u32 = 0;

impl SuffixIndex {
    /// An index of `names`, numbered in order.
    pub(super) fn new<'a>(names: impl ExactSizeIterator<Item = &'a Name>) -> Self {
        if names.len() == 0 {
            return Self::default();
        }
        let hasher = SuffixHasher::random();
        let tag = |name: &Name| hasher.suffixes(name.as_bytes()).last().map_or(ROOT, |(_, tag)| tag);
        let mut entries: Box<[(u32, u32)]> =
            (0..).zip(names).map(|(number, name)| (tag(name), number)).collect();
        entries.sort_unstable();
        Self { hasher: Some(hasher), entries }
    }

    /// The number of a name that `is_it` accepts, among candidates that `name` may equal or lie below.
    #[inline]
    pub(super) fn find(&self, name: &Name, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let hasher = self.hasher.as_ref()?;
        if self.entries.len() <= FEW {
            return (0..self.entries.len()).find(|number| is_it(*number));
        }
        let tags = std::iter::once(ROOT).chain(hasher.suffixes(name.as_bytes()).map(|(_, tag)| tag));
        let mut candidates = tags.flat_map(|tag| {
            let first = self.entries.partition_point(|(other, _)| *other < tag);
            self.entries[first..].iter().take_while(move |(other, _)| *other == tag)
        });
        candidates.find_map(|(_, number)| Some(*number as usize).filter(|number| is_it(*number)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_labels(text.split('.').filter(|label| !label.is_empty()).map(str::as_bytes)).unwrap()
    }

    #[test]
    fn finds_what_looking_at_each_name_finds() {
        for count in [0, 1, FEW, FEW + 1, 500] {
            let mut names: Vec<Name> =
                (0..count).map(|index| name(&format!("h{index}.z{}.example", index % 7))).collect();
            for root in [false, true] {
                let index = SuffixIndex::new(names.iter());
                for asked in [
                    "h3.z3.example",
                    "a.b.h4.z4.example",
                    "h400.z1.example",
                    "z1.example",
                    "example",
                    "",
                    "x.test",
                ] {
                    let asked = name(asked);
                    let is_it = |number: usize| asked.is_within(&names[number]);
                    let one_by_one = (0..names.len()).find(|number| is_it(*number));
                    assert_eq!(
                        index.find(&asked, is_it).is_some(),
                        one_by_one.is_some(),
                        "{asked} of {count}, {root}"
                    );
                }
                names.push(Name::ROOT);
            }
        }
    }

    #[test]
    fn every_candidate_is_offered() {
        let names: Vec<Name> = ["a.example", "example", "a.example", "b.test", "c.test", ""].map(name).into();
        let index = SuffixIndex::new(names.iter());
        for wanted in [0, 1, 2, 5] {
            assert_eq!(index.find(&name("x.a.example"), |number| number == wanted), Some(wanted));
        }
        assert_eq!(index.find(&name("x.a.example"), |number| number == 3), None);
    }
}
