//! [`Ghosts`]: the names of those that were put out before anybody asked for them again.

/// Fingerprints of hashes, each at a place of its own: a newer one takes the place of an older one, so that a ghost is
/// remembered for about as many evictions as there are places.
pub(super) struct Ghosts {
    prints: Box<[u16]>,
}

impl Ghosts {
    /// Room for `places` ghosts; none where there is no memory for it.
    pub(super) fn new(places: usize) -> Option<Self> {
        bytemuck::try_zeroed_slice_box(places.max(1)).ok().map(|prints| Self { prints })
    }

    /// Remembers `hash`.
    pub(super) fn put(&mut self, hash: u64) {
        let (place, print) = self.find(hash);
        self.prints[place] = print;
    }

    /// True where `hash` is remembered, which it is no more from then on; one in 65,535 others is taken for it.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        let (place, print) = self.find(hash);
        let found = self.prints[place] == print;
        if found {
            self.prints[place] = 0;
        }
        found
    }

    fn find(&self, hash: u64) -> (usize, u16) {
        let place = ((hash >> 32) * self.prints.len() as u64) >> 32;
        (place as usize, (hash as u16).max(1))
    }
}
