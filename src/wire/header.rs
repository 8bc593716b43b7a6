//! [`Header`]: the first twelve bytes of every message (RFC 1035 section 4.1.1).

/// Length of the header in bytes.
pub const HEADER: usize = 12;

/// The header's flag word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// QR: this is a response.
    pub const QR: u16 = 0x8000;
    /// AA: the answer is authoritative.
    pub const AA: u16 = 0x0400;
    /// TC: the answer is truncated.
    pub const TC: u16 = 0x0200;
    /// RD: recursion is desired.
    pub const RD: u16 = 0x0100;
    /// RA: recursion is available.
    pub const RA: u16 = 0x0080;
    /// AD: the data was validated (RFC 4035 section 3.1.6).
    pub const AD: u16 = 0x0020;
    /// CD: the client validates itself (RFC 4035 section 3.1.6).
    pub const CD: u16 = 0x0010;

    /// True if all bits of `mask` are set.
    pub fn has(self, mask: u16) -> bool {
        self.0 & mask == mask
    }

    /// The opcode, 0 to 15; 0 is QUERY.
    pub fn opcode(self) -> u8 {
        (self.0 >> 11) as u8 & 0x0f
    }

    /// The lower four bits of the response code.
    pub fn rcode(self) -> u16 {
        self.0 & 0x0f
    }
}

/// A message's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Message id, chosen by the sender of the query.
    pub id: u16,
    /// Flags, opcode and response code.
    pub flags: Flags,
    /// QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT.
    pub counts: [u16; 4],
}

impl Header {
    /// Parses the header; `None` if the message is shorter than [`HEADER`].
    pub fn parse(message: &[u8]) -> Option<Self> {
        let bytes = message.first_chunk::<HEADER>()?;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        Some(Self { id: word(0), flags: Flags(word(2)), counts: [word(4), word(6), word(8), word(10)] })
    }

    /// The header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [self.id, self.flags.0, self.counts[0], self.counts[1], self.counts[2], self.counts[3]];
        for (pair, word) in bytes.chunks_exact_mut(2).zip(words) {
            pair.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}
