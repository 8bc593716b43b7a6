//! [`CacheEntry`]: a key and its answer, encoded as 64-bit words.
//!
//! | word | bits, lowest first |
//! |---|---|
//! | 0 | record bytes 16, number of TTL fields 16, bytes of Extended DNS Errors 16, answer flags 16 |
//! | 1 | section counts 3 × 16, name length 8, key flags 2, lifetime kind 2 |
//! | 2 | time stored 40, key type 16, key route 8 |
//! | 3 | lifetime 32, age until which a stale entry is held 32 |
//! | 4… | name, then the answer's bytes, then zeros |

use super::key::{Key, flags_of};
use crate::policy::route::RouteId;
use crate::wire::answer::{AnswerHead, AnswerRef, Lifetime};
use crate::wire::code::Type;
use crate::wire::header::Flags;

/// Words before the name.
pub(super) const HEADER: usize = 4;

/// Index of the only word that changes while an entry is in the cache.
pub(super) const HELD: usize = 3;

/// Words of the largest entry: a name of 255 bytes and a message of 65,535. Every eleven bytes (the smallest record)
/// need two more for the offset of their TTL.
pub(super) const MAX_WORDS: usize = 10 * 1024;

/// An entry as written by [`CacheEntry::write`].
#[derive(Clone, Copy, Debug)]
pub(super) struct CacheEntry<'a> {
    pub(super) key: Key<'a>,
    pub(super) answer: AnswerRef<'a>,
    /// Time stored, on the cache's clock.
    stored: u64,
    /// Age in milliseconds until which the stale entry is held; zero means not held.
    held: u32,
}

impl<'a> CacheEntry<'a> {
    /// Writes an entry stored at `stored` into `words`, which is cleared first.
    pub(super) fn write(words: &mut Vec<u64>, key: Key<'_>, answer: AnswerRef<'_>, stored: u64) {
        let head = answer.head();
        let (kind, ttl) = match head.lifetime {
            Lifetime::Unknown => (0, 0),
            Lifetime::Positive(ttl) => (1, ttl),
            Lifetime::Negative(ttl) => (2, ttl),
            Lifetime::Failure => (3, 0),
        };
        let lengths = [head.records, head.ttls, head.extended_errors, head.flags.0];
        words.clear();
        words.push(join(lengths));
        words.push(
            join([head.counts[0], head.counts[1], head.counts[2], key.name.len() as u16])
                | key.flag_bits() << 56
                | kind << 58,
        );
        words.push(stored & STORED | u64::from(key.qtype.0) << 40 | u64::from(key.route.0) << 56);
        words.push(u64::from(ttl));
        words.resize(HEADER + (key.name.len() + answer.bytes().len()).div_ceil(8), 0);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words[HEADER..]);
        let (name, rest) = bytes.split_at_mut(key.name.len());
        name.copy_from_slice(key.name);
        rest[..answer.bytes().len()].copy_from_slice(answer.bytes());
    }

    /// Length in words of the entry that begins with `header`, which has at least [`HEADER`] words.
    pub(super) fn len(header: &[u64]) -> usize {
        let [records, ttls, extended_errors, _] = split(header[0]).map(usize::from);
        let name = usize::from(name_len(header[1]));
        HEADER + (name + records + 2 * ttls + extended_errors).div_ceil(8)
    }

    /// True if the entry in `words` has this key.
    pub(super) fn has_key(words: &[u64], key: Key<'_>) -> bool {
        let Some((header, body)) = words.split_first_chunk::<HEADER>() else { return false };
        let body: &[u8] = bytemuck::cast_slice(body);
        usize::from(name_len(header[1])) == key.name.len()
            && (header[2] >> 40) as u16 == key.qtype.0
            && (header[2] >> 56) as u8 == key.route.0
            && header[1] >> 56 & 3 == key.flag_bits()
            && body.starts_with(key.name)
    }

    /// Reads an entry written by [`CacheEntry::write`]; `None` if it is invalid.
    pub(super) fn read(words: &'a [u64]) -> Option<Self> {
        let (header, body) = words.split_first_chunk::<HEADER>()?;
        let [records, ttls, extended_errors, flags] = split(header[0]);
        let [answers, authorities, additionals, _] = split(header[1]);
        let ttl = header[HELD] as u32;
        let lifetime = match header[1] >> 58 & 3 {
            0 => Lifetime::Unknown,
            1 => Lifetime::Positive(ttl),
            2 => Lifetime::Negative(ttl),
            _ => Lifetime::Failure,
        };
        let head = AnswerHead {
            flags: Flags(flags),
            counts: [answers, authorities, additionals],
            records,
            ttls,
            extended_errors,
            lifetime,
        };
        let bytes: &[u8] = bytemuck::cast_slice(body);
        let (name, rest) = bytes.split_at_checked(usize::from(name_len(header[1])))?;
        let len = usize::from(records) + 2 * usize::from(ttls) + usize::from(extended_errors);
        Some(Self {
            key: Key {
                name,
                qtype: Type((header[2] >> 40) as u16),
                flags: flags_of(header[1] >> 56),
                route: RouteId((header[2] >> 56) as u8),
            },
            answer: AnswerRef::new(head, rest.get(..len)?)?,
            stored: header[2] & STORED,
            held: (header[HELD] >> 32) as u32,
        })
    }

    /// Its age at `now`, in milliseconds.
    pub(super) fn age(&self, now: u64) -> u64 {
        now.saturating_sub(self.stored)
    }

    /// True if the entry is still held at `age`.
    pub(super) fn is_held(&self, age: u64) -> bool {
        age < u64::from(self.held)
    }

    /// The word [`HELD`] for holding this entry until it is `age` milliseconds old.
    pub(super) fn held_until(words: &[u64], age: u64) -> u64 {
        words[HELD] & u64::from(u32::MAX) | u64::from(u32::try_from(age).unwrap_or(u32::MAX)) << 32
    }
}

/// Bits of the time stored: 34 years in milliseconds.
const STORED: u64 = (1 << 40) - 1;

fn name_len(word: u64) -> u8 {
    (word >> 48) as u8
}

fn join(parts: [u16; 4]) -> u64 {
    parts.iter().rev().fold(0, |word, part| word << 16 | u64::from(*part))
}

fn split(word: u64) -> [u16; 4] {
    [word as u16, (word >> 16) as u16, (word >> 32) as u16, (word >> 48) as u16]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::wire::request::AnswerFlags;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            name in proptest::collection::vec(any::<u8>(), 1..=255),
            (qtype, dnssec_ok, checking_disabled, route) in any::<(u16, bool, bool, u8)>(),
            (flags, counts, ttls) in (any::<u16>(), any::<[u16; 3]>(), 0..9u16),
            records in proptest::collection::vec(any::<u8>(), 0..300),
            extended_errors in 0..20u16,
            (stored, held) in (0..1u64 << 40, any::<u32>()),
            lifetime in prop_oneof![
                any::<u32>().prop_map(Lifetime::Positive),
                any::<u32>().prop_map(Lifetime::Negative),
                Just(Lifetime::Failure),
                Just(Lifetime::Unknown),
            ],
        ) {
            let records_len = records.len() as u16;
            let bytes = [records, vec![7; 2 * usize::from(ttls) + usize::from(extended_errors)]].concat();
            let flags = Flags(flags);
            let head = AnswerHead { flags, counts, records: records_len, ttls, extended_errors, lifetime };
            let answer = AnswerRef::new(head, &bytes).unwrap();
            let answer_flags = AnswerFlags { dnssec_ok, checking_disabled };
            let key = Key { name: &name, qtype: Type(qtype), flags: answer_flags, route: RouteId(route) };
            let mut words = vec![1; 3];
            CacheEntry::write(&mut words, key, answer, stored);
            words[HELD] = CacheEntry::held_until(&words, u64::from(held));
            let entry = CacheEntry::read(&words).unwrap();
            prop_assert_eq!((entry.key, entry.answer, entry.stored, entry.held), (key, answer, stored, held));
            prop_assert!(CacheEntry::has_key(&words, key));
            prop_assert_eq!(CacheEntry::len(&words), words.len());
            prop_assert!(CacheEntry::read(&words[..words.len() - 1]).is_none());
        }

        #[test]
        fn nothing_that_is_no_entry_panics(words in proptest::collection::vec(any::<u64>(), 0..40)) {
            let _ = CacheEntry::read(&words);
        }
    }
}
