//! Converts names between text (RFC 1035 section 5.1 escapes) and wire form, well-formed or not.

/// Wire form of `text`, root included: `a\.b.c` has two labels, `\065` is one byte, `.` is the root.
///
/// Over-long labels and names are written unchanged, since tests need them.
pub(crate) fn to_wire(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in labels(text) {
        wire.push(u8::try_from(label.len()).expect("a label's length is one byte"));
        wire.extend(label);
    }
    wire.push(0);
    wire
}

fn labels(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut labels, mut label, mut at) = (Vec::new(), Vec::new(), 0);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if bytes[at + 1].is_ascii_digit() => {
                label.push(text[at + 1..at + 4].parse().expect("three digits, at most 255"));
                at += 4;
                continue;
            }
            b'\\' => {
                label.push(bytes[at + 1]);
                at += 1;
            }
            b'.' if text == "." => {}
            b'.' => labels.push(std::mem::take(&mut label)),
            byte => label.push(byte),
        }
        at += 1;
    }
    if !label.is_empty() {
        labels.push(label);
    }
    labels
}

/// Text of one label; every special or invisible byte is escaped.
pub(crate) fn label_text(label: &[u8]) -> String {
    let mut text = String::new();
    for &byte in label {
        match byte {
            b'.' | b'\\' => text.extend(['\\', char::from(byte)]),
            0x21..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\{byte:03}")),
        }
    }
    text
}

/// `text` with every `{UNIT*COUNT}` expanded, so that tables need no names of 255 letters.
pub(crate) fn expand(text: &str) -> String {
    let Some((before, rest)) = text.split_once('{') else {
        return text.to_owned();
    };
    let (inner, after) = rest.split_once('}').expect("`{` is closed");
    let (unit, count) = inner.rsplit_once('*').expect("`{UNIT*COUNT}`");
    let repeated = unit.repeat(count.parse().expect("a count"));
    format!("{before}{repeated}{}", expand(after))
}
