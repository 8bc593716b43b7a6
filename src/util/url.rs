//! [`UrlWriter`] and [`UrlComponent`]: any text as a part of a URL.

use std::fmt::{self, Display, Write};

/// Writes text as a component of a URL: all but the unreserved characters are percent-encoded (RFC 3986 section 2.3).
pub(crate) struct UrlWriter<'a, 'b>(pub(crate) &'a mut fmt::Formatter<'b>);

/// Text as a component of a URL.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UrlComponent<'a>(pub(crate) &'a str);

fn is_unreserved(byte: u8) -> bool {
    matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~')
}

impl Write for UrlWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Nearly every label is plain and written at once.
        if text.bytes().all(is_unreserved) {
            return self.0.write_str(text);
        }
        text.bytes().try_for_each(|byte| match byte {
            byte if is_unreserved(byte) => self.0.write_char(byte.into()),
            byte => write!(self.0, "%{byte:02X}"),
        })
    }
}

impl Display for UrlComponent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        UrlWriter(f).write_str(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        for (text, written) in [
            ("a-z_0.9~", "a-z_0.9~"),
            ("10.0.0.0/24", "10.0.0.0%2F24"),
            ("a&b=c#d?", "a%26b%3Dc%23d%3F"),
            ("\0\u{fc}%\" ", "%00%C3%BC%25%22%20"),
        ] {
            assert_eq!(UrlComponent(text).to_string(), written);
        }
    }
}
