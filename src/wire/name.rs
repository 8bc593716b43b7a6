//! [`Name`]: a domain name in wire format, folded to lower case.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Longest name in wire format, in bytes, with the final zero (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;
/// Longest label, in bytes, without its length byte (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// Maximum labels in a name of [`MAX_NAME`] bytes, without the root.
pub const MAX_LABELS: usize = 127;

/// A domain name for comparison: length-prefixed labels, A–Z folded to a–z, and the root's zero byte.
///
/// Labels may contain any byte. Names are never compared as text, so a dot inside a label is not a label boundary.
/// [`fmt::Display`] writes the RFC 1035 presentation form and escapes unprintable bytes.
#[derive(Clone)]
pub struct Name {
    len: u8,
    bytes: [u8; MAX_NAME],
}

/// Why a name is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The bytes end before the name does.
    #[error("name runs past the end of the message")]
    Cut,
    /// A length byte of 64 or more: a compression pointer, or a label type that is not allowed here.
    #[error("label is longer than 63 bytes, or a compression pointer")]
    Label,
    /// More than [`MAX_NAME`] bytes.
    #[error("name is longer than 255 bytes")]
    Long,
    /// An empty label.
    #[error("empty label")]
    Empty,
}

impl Name {
    /// The root: no labels.
    pub const ROOT: Self = Self { len: 1, bytes: [0; MAX_NAME] };

    /// Parses and folds the uncompressed name at the start of `bytes`.
    ///
    /// [`Name::wire_len`] is its length on the wire.
    pub fn parse(bytes: &[u8]) -> Result<Self, NameError> {
        let mut name = Self::ROOT;
        name.read(bytes)?;
        Ok(name)
    }

    /// Parses into `self`, which stays unchanged on an error.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), NameError> {
        let end = Self::length(bytes)?;
        self.len = end as u8;
        // Length bytes are below 64 and `A` is 65, so folding all bytes changes only labels.
        fold(&mut self.bytes[..end], &bytes[..end]);
        Ok(())
    }

    /// Length in bytes of the uncompressed name at the start of `bytes`.
    pub fn length(bytes: &[u8]) -> Result<usize, NameError> {
        let mut end = 0;
        loop {
            let label = usize::from(*bytes.get(end).ok_or(NameError::Cut)?);
            if label > MAX_LABEL {
                return Err(NameError::Label);
            }
            end += 1 + label;
            // RFC 1035 section 2.3.4: "names 255 octets or less"
            if end > MAX_NAME {
                return Err(NameError::Long);
            }
            if label == 0 {
                return Ok(end);
            }
        }
    }

    /// Builds and folds a name from labels, leftmost first.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NameError> {
        let mut name = Self::ROOT;
        let mut at = 0;
        for label in labels {
            match label.len() {
                0 => return Err(NameError::Empty),
                len if len > MAX_LABEL => return Err(NameError::Label),
                len if at + 1 + len + 1 > MAX_NAME => return Err(NameError::Long),
                len => name.bytes[at] = len as u8,
            }
            let end = at + 1 + label.len();
            fold(&mut name.bytes[at + 1..end], label);
            at = end;
        }
        name.len = at as u8 + 1;
        Ok(name)
    }

    /// The folded bytes, with the final zero.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Length on the wire in bytes, 1 to 255.
    pub fn wire_len(&self) -> usize {
        usize::from(self.len)
    }

    /// True if this is the root.
    pub fn is_root(&self) -> bool {
        self.len == 1
    }

    /// The labels, leftmost first, without the root.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: self.as_bytes() }
    }

    /// True if `self` is `origin` or lies below it, compared label by label.
    pub fn is_within(&self, origin: &Self) -> bool {
        let Some(start) = self.wire_len().checked_sub(origin.wire_len()) else {
            return false;
        };
        let mut at = 0;
        while at < start {
            at += 1 + usize::from(self.bytes[at]);
        }
        at == start && self.as_bytes()[at..] == *origin.as_bytes()
    }
}

/// Copies with A–Z folded to a–z (RFC 4343 section 3), in chunks that the compiler vectorises.
fn fold(to: &mut [u8], from: &[u8]) {
    let (to, to_rest) = to.as_chunks_mut::<16>();
    let (from, from_rest) = from.as_chunks::<16>();
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.map(|byte| byte.to_ascii_lowercase());
    }
    for (to, from) in to_rest.iter_mut().zip(from_rest) {
        *to = from.to_ascii_lowercase();
    }
}

/// Labels of a wire-format name, leftmost first.
#[derive(Clone, Debug)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.rest.split_first()?;
        if *len == 0 {
            return None;
        }
        let (label, rest) = rest.split_at_checked(usize::from(*len))?;
        self.rest = rest;
        Some(label)
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({self})")
    }
}

/// Presentation form without the final dot; the root is `.` (RFC 1035 section 5.1, escapes as `\DDD` and `\.`).
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        if self.is_root() {
            return f.write_char('.');
        }
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_char('.')?;
            }
            // Nearly every label is plain and written at once.
            if let Ok(text) = std::str::from_utf8(label)
                && label.iter().all(|byte| is_plain(*byte))
            {
                f.write_str(text)?;
                continue;
            }
            for &byte in label {
                match byte {
                    byte if is_plain(byte) => f.write_char(char::from(byte))?,
                    0x21..=0x7e => write!(f, "\\{}", char::from(byte))?,
                    _ => write!(f, "\\{byte:03}")?,
                }
            }
        }
        Ok(())
    }
}

/// True for bytes that need no escape in the presentation form (RFC 1035 section 5.1).
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && !matches!(byte, b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_labels(text.split('.').map(str::as_bytes)).unwrap()
    }

    #[test]
    fn folds_a_to_z_and_nothing_else() {
        let wire = b"\x06A@[`{Z\x02\xc3\x89\0";
        assert_eq!(Name::parse(wire).unwrap().as_bytes(), b"\x06a@[`{z\x02\xc3\x89\0");
    }

    #[test]
    fn refuses_what_is_no_name() {
        let long: Vec<u8> = std::iter::repeat_n([1, b'a'], 127).flatten().chain([0]).collect();
        assert_eq!(Name::parse(&long).unwrap().wire_len(), 255);
        let longer: Vec<u8> = [2, b'b', b'b'].into_iter().chain(long[2..].iter().copied()).collect();
        assert_eq!(Name::parse(&longer).unwrap_err(), NameError::Long);
        assert_eq!(Name::parse(&long[..254]).unwrap_err(), NameError::Cut);
        assert_eq!(Name::parse(b"").unwrap_err(), NameError::Cut);
        assert_eq!(Name::parse(b"\x05ab").unwrap_err(), NameError::Cut);
        assert_eq!(Name::parse(&[64; 80]).unwrap_err(), NameError::Label);
        assert_eq!(Name::parse(b"\xc0\x0c").unwrap_err(), NameError::Label);
    }

    #[test]
    fn within_is_decided_on_labels() {
        assert!(name("a.azureml.ms").is_within(&name("azureml.ms")));
        assert!(name("azureml.ms").is_within(&name("azureml.ms")));
        assert!(name("azureml.ms").is_within(&Name::ROOT));
        assert!(!name("notazureml.ms").is_within(&name("azureml.ms")));
        assert!(!name("ms").is_within(&name("azureml.ms")));
        // A label with a dot inside, and a label whose last bytes look like the origin.
        assert!(!Name::parse(b"\x0aazureml.ms\0").unwrap().is_within(&name("azureml.ms")));
        assert!(!Name::parse(b"\x0dx\x07azureml\x02ms\0\0").unwrap().is_within(&name("azureml.ms")));
    }

    #[test]
    fn display_escapes() {
        assert_eq!(Name::parse(b"\x05a.b\n\"\x02\xffz\0").unwrap().to_string(), "a\\.b\\010\\\".\\255z");
        assert_eq!(Name::ROOT.to_string(), ".");
    }
}
