//! [`TrieTable`]: maps the tag of a suffix to its places.

use super::place::NodePlace;

/// Slots in a bucket: eight bytes each, so a bucket fills a cache line.
const WIDTH: usize = 8;
/// Load factor in percent: above it, too many lookups need a second bucket.
const LOAD: usize = 75;
/// The tag of a free slot.
const FREE: u32 = u32::MAX;

/// A tag and one of its places, in one number for fast sorting: by tag, and places without a rule first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableEntry(u64);

impl TableEntry {
    pub(super) fn new(tag: u32, place: NodePlace) -> Self {
        Self(u64::from(tag) << 32 | u64::from(place.0))
    }

    pub(super) fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn place(self) -> NodePlace {
        NodePlace(self.0 as u32)
    }

    /// No entry: its tag marks free slots.
    pub(super) const NONE: Self = Self(u64::MAX);
}

/// Slots that are compared together.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    tags: [u32; WIDTH],
    places: [NodePlace; WIDTH],
}

impl Bucket {
    const EMPTY: Self = Self { tags: [FREE; WIDTH], places: [NodePlace::WAY; WIDTH] };

    /// The slots with this tag, one byte per slot: 0xff for a match.
    fn matches(&self, tag: u32) -> u64 {
        u64::from_le_bytes(self.tags.map(|own| if own == tag { u8::MAX } else { 0 }))
    }
}

/// Tags and places. A tag has several places if several rules have the same suffix or two suffixes share a tag.
///
/// All tags are sorted. The value of a tag alone selects its bucket; if that is full, the tag goes to the next one. So
/// the last tag of a bucket shows whether a lookup must continue.
pub(super) struct TrieTable {
    buckets: Box<[Bucket]>,
    /// Buckets that tags are spread over; the buckets after them take the overflow.
    spread: usize,
}

impl TrieTable {
    /// A table of `entries`, which are sorted.
    pub(super) fn new(entries: &[TableEntry]) -> Self {
        let spread = (entries.len() * 100).div_ceil(WIDTH * LOAD).max(1);
        let mut buckets = Vec::with_capacity(spread + 1);
        buckets.resize(spread, Bucket::EMPTY);
        let mut slot = 0;
        for entry in entries {
            slot = slot.max(first_bucket(entry.tag(), spread) * WIDTH);
            if slot == buckets.len() * WIDTH {
                buckets.push(Bucket::EMPTY);
            }
            let bucket = &mut buckets[slot / WIDTH];
            (bucket.tags[slot % WIDTH], bucket.places[slot % WIDTH]) = (entry.tag(), entry.place());
            slot += 1;
        }
        Self { buckets: buckets.into(), spread }
    }

    /// Calls `each` with every place of a tag; false if there are none.
    #[inline]
    pub(super) fn places(&self, tag: u32, mut each: impl FnMut(NodePlace)) -> bool {
        let mut any = false;
        for bucket in &self.buckets[first_bucket(tag, self.spread)..] {
            let mut matches = bucket.matches(tag);
            while matches != 0 {
                any = true;
                let slot = matches.trailing_zeros() as usize / 8;
                matches &= !(0xff << (slot * 8));
                each(bucket.places[slot % WIDTH]);
            }
            if tag < bucket.tags[WIDTH - 1] {
                break;
            }
        }
        any
    }

    /// Bytes on the heap.
    pub(super) fn heap_size(&self) -> usize {
        size_of_val(&*self.buckets)
    }
}

/// Index of the first bucket for a tag; keeps the order of tags.
fn first_bucket(tag: u32, buckets: usize) -> usize {
    ((u64::from(tag) * buckets as u64) >> 32) as usize
}
