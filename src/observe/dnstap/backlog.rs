//! [`Backlog`]: frames that are not sent yet.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most octets that wait for the reader: about 4,000 lookups.
const CAPACITY: usize = 1024 * 1024;

/// Size of the length prefix before each frame.
const PREFIX: usize = 4;

/// Frames with their length prefixes, in order. Only whole frames are added and removed.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// End of the bytes sent; inside a frame if the socket accepted only a part of it.
    sent: usize,
    /// End of the last frame that was sent whole; at most `sent`.
    whole: usize,
}

impl Backlog {
    /// Adds the frames that `put` appends; all or, if they do not fit, none.
    pub(super) fn push(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> bool {
        let before = self.bytes.len();
        put(&mut self.bytes);
        let fits = self.bytes.len() - self.whole <= CAPACITY;
        if !fits {
            self.bytes.truncate(before);
        }
        fits
    }

    /// True if everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Writes until nothing is left or `out` would block; adds the frames sent whole to `frames`.
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

    /// Drops everything; returns the number of frames that were not sent whole.
    pub(super) fn discard(&mut self) -> u64 {
        let lost = self.pass_frames(self.bytes.len());
        *self = Self::default();
        lost
    }

    /// Advances `whole` over the frames that end at or before `end`; returns their number.
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

    /// Removes sent frames from the buffer, rarely enough that moving the rest costs next to nothing.
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
