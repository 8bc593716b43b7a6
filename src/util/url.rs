//! [`UrlComponent`]: any bytes as a part of a URL.

use std::fmt::{self, Write};

/// Bytes as a component of a URL: all but the unreserved characters are percent-encoded (RFC 3986 section 2.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct UrlComponent<'a>(pub(crate) &'a [u8]);

impl fmt::Display for UrlComponent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => f.write_char(byte.into()),
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        for (bytes, written) in [
            (&b"a-z_0.9~"[..], "a-z_0.9~"),
            (b"10.0.0.0/24", "10.0.0.0%2F24"),
            (b"a&b=c#d?", "a%26b%3Dc%23d%3F"),
            (b"\0\xff%\" ", "%00%FF%25%22%20"),
        ] {
            assert_eq!(UrlComponent(bytes).to_string(), written);
        }
    }
}
