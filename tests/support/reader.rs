//! [`Reader`]: a cursor over a DNS message that follows compression pointers.

use super::name::label_text;

/// Why a message cannot be read.
pub(crate) type Malformed = String;

/// A position in a message.
pub(crate) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// True at the end of the message.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.message.len()
    }

    /// The next `length` bytes.
    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let bytes = self.message.get(self.at..self.at + length);
        self.at += length;
        bytes.ok_or_else(|| format!("{length} bytes are missing at offset {}", self.at - length))
    }

    /// Two bytes, most significant first.
    pub(crate) fn word(&mut self) -> Result<u16, Malformed> {
        let bytes = self.bytes(2)?;
        Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Four bytes, most significant first.
    pub(crate) fn double(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from(self.word()?) << 16 | u32::from(self.word()?))
    }

    /// A name as text (`.` for the root, else without the final dot), following pointers.
    pub(crate) fn name(&mut self) -> Result<String, Malformed> {
        let (mut labels, mut at, mut end) = (Vec::new(), self.at, None);
        for _ in 0..128 {
            let length = usize::from(*self.message.get(at).ok_or("a name runs past the end")?);
            match length {
                0 => {
                    self.at = end.unwrap_or(at + 1);
                    return Ok(if labels.is_empty() { ".".to_owned() } else { labels.join(".") });
                }
                1..=63 => {
                    let label =
                        self.message.get(at + 1..at + 1 + length).ok_or("a label runs past the end")?;
                    labels.push(label_text(label));
                    at += 1 + length;
                }
                192.. => {
                    let low = usize::from(*self.message.get(at + 1).ok_or("half a pointer")?);
                    end = end.or(Some(at + 2));
                    at = (length & 0x3f) << 8 | low;
                }
                _ => return Err(format!("label type {length:#x} at offset {at}")),
            }
        }
        Err("a name of more than 128 labels and pointers".to_owned())
    }
}
