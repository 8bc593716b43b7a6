//! [`Backlog`]: frames the reader has not taken yet.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most octets that wait for the reader: some 4000 lookups.
const CAPACITY: usize = 1024 * 1024;

/// Length of the number before each frame that tells the frame's own length.
const PREFIX: usize = 4;

/// Frames with their length prefixes, in order. Frames come and go whole.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// Everything before was sent; inside a frame where the socket took a part of it.
    sent: usize,
    /// End of the last frame that was sent whole, `sent` at most.
    whole: usize,
}

impl Backlog {
    /// Adds the frames that `put` appends, all of them or, where they do not fit, none.
    pub(super) fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> bool {
        let before = self.bytes.len();
        put(&mut self.bytes);
        let fits = self.bytes.len() - self.whole <= CAPACITY;
        if !fits {
            self.bytes.truncate(before);
        }
        fits
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Writes until nothing is left or `out` takes no more, and adds the frames sent whole to `frames`.
    pub(super) fn write_to(&mut self, mut out: impl Write, frames: &AtomicU64) -> std::io::Result<()> {
        while !self.is_empty() {
            match out.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => self.sent += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            frames.fetch_add(self.pass_frames(self.sent), Ordering::Relaxed);
        }
        self.make_room();
        Ok(())
    }

    /// Forgets everything, and tells how many frames were not sent whole.
    pub(super) fn discard(&mut self) -> u64 {
        let lost = self.pass_frames(self.bytes.len());
        *self = Self::default();
        lost
    }

    /// Moves `whole` over the frames that end at or before `end`, and counts them.
    fn pass_frames(&mut self, end: usize) -> u64 {
        let mut count = 0;
        while let Some(prefix) = self.bytes.get(self.whole..).and_then(|rest| rest.first_chunk::<PREFIX>()) {
            let next = self.whole + PREFIX + u32::from_be_bytes(*prefix) as usize;
            if next > end {
                break;
            }
            self.whole = next;
            count += 1;
        }
        count
    }

    /// Takes what was sent out of the buffer, rarely enough that moving the rest costs next to nothing.
    fn make_room(&mut self) {
        if self.is_empty() {
            self.bytes.clear();
        } else if self.whole >= CAPACITY / 2 {
            self.bytes.drain(..self.whole);
        } else {
            return;
        }
        (self.sent, self.whole) = (self.sent - self.whole, 0);
    }
}
