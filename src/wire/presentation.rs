//! Names as text (RFC 1035 section 5.1): a label may contain any byte, as `\DDD` or after a backslash.

use super::name::{Name, NameError};

/// The labels of a name as written, with escapes, each with its offset. The last is empty if the name ends in a dot.
pub fn written_labels(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = Some(0);
    std::iter::from_fn(move || {
        let start = rest?;
        let mut escaped = false;
        let end = text[start..].bytes().position(|byte| {
            let ends = byte == b'.' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        rest = end.map(|length| start + length + 1);
        Some((start, end.map_or(&text[start..], |length| &text[start..start + length])))
    })
}

/// Decodes the escapes of a label or character string. `None` if a backslash is at the end, or before digits that are
/// not a byte.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut label = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            label.push(byte);
            continue;
        }
        let first = bytes.next()?;
        if first.is_ascii_digit() {
            let digits = [first, bytes.next()?, bytes.next()?];
            label.push(
                std::str::from_utf8(&digits).ok().filter(|_| digits[1].is_ascii_digit())?.parse().ok()?,
            );
        } else {
            label.push(first);
        }
    }
    Some(label)
}

/// The bytes of a written label. A non-ASCII label becomes an A-label (RFC 5891).
pub fn label(written: &str) -> Option<Vec<u8>> {
    match written.is_ascii() {
        true => unescape(written),
        false => idna::domain_to_ascii_strict(written).ok().map(String::into_bytes),
    }
}

/// Parses a name, with or without a final dot; `None` if it is invalid.
pub fn read_name(text: &str) -> Option<Name> {
    if text == "." {
        return Some(Name::ROOT);
    }
    let mut labels: Vec<Vec<u8>> =
        written_labels(text).map(|(_, written)| label(written)).collect::<Option<_>>()?;
    if labels.len() > 1 && labels.last().is_some_and(Vec::is_empty) {
        labels.pop();
    }
    from_labels(&labels).ok()
}

fn from_labels(labels: &[Vec<u8>]) -> Result<Name, NameError> {
    Name::from_labels(labels.iter().map(Vec::as_slice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_label_that_can_be_written() {
        for (text, shown) in [
            ("sql_server01.corp.example", Some("sql_server01.corp.example")),
            ("0/25.2.0.192.in-addr.arpa.", Some("0/25.2.0.192.in-addr.arpa")),
            ("A+B.example", Some("a+b.example")),
            (r"a\.b.example", Some(r"a\.b.example")),
            (r"a\\.b", Some(r"a\\.b")),
            (r"\065\032x.example", Some(r"a\032x.example")),
            ("bücher_x.example", None),
            ("bücher.sql_server", Some("xn--bcher-kva.sql_server")),
            (".", Some(".")),
            ("a..b", None),
            ("", None),
            (r"a\", None),
            (r"a\25", None),
            (r"a\256.b", None),
            (r"a\2+5.b", None),
        ] {
            assert_eq!(read_name(text).map(|name| name.to_string()).as_deref(), shown, "{text}");
        }
    }
}
