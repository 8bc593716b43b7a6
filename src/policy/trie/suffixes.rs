//! [`SuffixHasher`]: hashes of a name's suffixes, from the last label to the whole name.

use std::hash::BuildHasher;

use crate::wire::name::MAX_LABELS;

/// Hashes suffixes label by label from the right, eight bytes at a time: a 64 × 64 bit multiplication whose halves are
/// folded together.
///
/// Every trie has a random seed, so neither clients nor authors of allowlists can choose names that collide.
#[derive(Clone, Debug)]
pub(in crate::policy) struct SuffixHasher {
    seed: u64,
    /// Odd.
    factor: u64,
}

impl SuffixHasher {
    pub(in crate::policy) fn random() -> Self {
        let random = std::hash::RandomState::new();
        Self { seed: random.hash_one(0), factor: random.hash_one(1) | 1 }
    }

    /// Gives all suffixes one tag.
    #[cfg(test)]
    pub(super) fn colliding() -> Self {
        Self { seed: 0, factor: 0 }
    }

    /// The suffixes of a wire-format name without the root, shortest first: start offset and tag of each.
    #[inline]
    pub(in crate::policy) fn suffixes<'a>(&'a self, name: &'a [u8]) -> Suffixes<'a> {
        let mut suffixes =
            Suffixes { hasher: self, name, starts: [0; MAX_LABELS], left: 0, end: 0, hash: self.seed };
        while name[suffixes.end] != 0 {
            suffixes.starts[suffixes.left] = suffixes.end as u8;
            suffixes.left += 1;
            suffixes.end += 1 + usize::from(name[suffixes.end]);
        }
        suffixes
    }

    /// Extends `hash` of a suffix by the label before it: `name[start..end]`, including its length byte.
    #[inline(always)]
    fn extend(&self, mut hash: u64, name: &[u8], start: usize, end: usize) -> u64 {
        let label = &name[start..end];
        let (words, rest) = label.as_chunks::<8>();
        for word in words {
            hash = self.mix(hash, u64::from_le_bytes(*word));
        }
        if rest.is_empty() {
            return hash;
        }
        let word = match name[..end].last_chunk::<8>() {
            // Shift out the bytes before the label.
            Some(word) => u64::from_le_bytes(*word) >> (64 - 8 * rest.len()),
            None => rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        self.mix(hash, word)
    }

    #[inline(always)]
    fn mix(&self, hash: u64, word: u64) -> u64 {
        let product = u128::from(hash ^ word) * u128::from(self.factor);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// See [`SuffixHasher::suffixes`].
pub(in crate::policy) struct Suffixes<'a> {
    hasher: &'a SuffixHasher,
    name: &'a [u8],
    /// Where each label starts, leftmost first.
    starts: [u8; MAX_LABELS],
    /// Labels not yet hashed.
    left: usize,
    /// Where the part hashed so far starts.
    end: usize,
    hash: u64,
}

impl Iterator for Suffixes<'_> {
    type Item = (usize, u32);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, u32)> {
        self.left = self.left.checked_sub(1)?;
        let start = usize::from(self.starts[self.left]);
        self.hash = self.hasher.extend(self.hash, self.name, start, self.end);
        self.end = start;
        Some((start, tag(self.hash)))
    }
}

/// The part of a hash that the table stores; never `u32::MAX`, which marks free slots.
fn tag(hash: u64) -> u32 {
    ((hash.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32).min(u32::MAX - 1)
}
