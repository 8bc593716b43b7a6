//! [`Ghosts`]: remembers entries that were evicted before a second request.

/// Fingerprints of hashes, each in a fixed slot. A newer one replaces an older one, so a ghost is remembered for about
/// as many evictions as there are slots.
pub(super) struct Ghosts {
    prints: Box<[u16]>,
}

impl Ghosts {
    /// Room for `places` ghosts; `None` if there is not enough memory.
    pub(super) fn new(places: usize) -> Option<Self> {
        bytemuck::try_zeroed_slice_box(places.max(1)).ok().map(|prints| Self { prints })
    }

    /// Remembers `hash`.
    pub(super) fn put(&mut self, hash: u64) {
        let (place, print) = self.find(hash);
        self.prints[place] = print;
    }

    /// Forgets `hash` and returns true if it was remembered. One in 65,535 other hashes matches by chance.
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
