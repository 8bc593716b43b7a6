//! Record data: parsed here if it contains names, text or `\#`, otherwise by hickory.
//!
//! hickory's parser rejects labels that RFC 2181 section 11 allows, so data with names is converted to wire format
//! here.

use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinDecoder, Restrict};
use hickory_proto::serialize::txt::parse_ttl;

use super::entry::Word;
use crate::wire::presentation::{label, unescape, written_labels};

/// Longest character string (RFC 1035 section 3.3).
const MAX_STRING: usize = 255;

/// A field of a record's data.
#[derive(Clone, Copy)]
enum Field {
    Name,
    U16,
    U32,
    Time,
    Text,
}

/// How names and text are completed.
#[derive(Clone, Copy)]
pub(super) struct Style<'o> {
    pub(super) origin: &'o Name,
    /// As Azure exports them: targets are absolute without a final dot, and long text becomes several strings.
    pub(super) azure: bool,
}

/// Reads a name, relative to the origin unless it ends in a dot.
pub(super) fn read_name(text: &str, origin: &Name) -> Result<Name, String> {
    if text == "@" {
        return Ok(origin.clone());
    }
    if text == "." {
        return Ok(Name::root());
    }
    let no_name = |why: &str| format!("invalid name `{text}`: {why}");
    let mut labels = Vec::new();
    let written: Vec<&str> = written_labels(text).map(|(_, written)| written).collect();
    let is_absolute = written.len() > 1 && written.last().is_some_and(|last| last.is_empty());
    for written in &written[..written.len() - usize::from(is_absolute)] {
        match label(written) {
            Some(label) if label.is_empty() => return Err(no_name("empty label")),
            Some(label) => labels.push(label),
            None => return Err(no_name("invalid escape or internationalised label")),
        }
    }
    let name = Name::from_labels(labels).map_err(|error| no_name(&error.to_string()))?;
    match is_absolute {
        true => Ok(name),
        false => name.append_domain(origin).map_err(|error| no_name(&error.to_string())),
    }
}

/// A type's mnemonic, or `TYPE` and its number (RFC 3597 section 5).
pub(super) fn record_type(text: &str) -> Option<RecordType> {
    let text = text.to_ascii_uppercase();
    match text.strip_prefix("TYPE").and_then(|number| number.parse::<u16>().ok()) {
        Some(number) => Some(RecordType::from(number)),
        None => text.parse().ok(),
    }
}

/// Reads the data here if possible; `None` if hickory must read it.
pub(super) fn read(
    record_type: RecordType,
    data: &[Word<'_>],
    style: Style<'_>,
) -> Option<Result<RData, String>> {
    use Field::{Name, Text, Time, U16, U32};
    if data.first().is_some_and(|word| !word.quoted && word.text == "\\#") {
        return Some(unknown(&data[1..]).and_then(|wire| decode(record_type, &wire)));
    }
    let fields: &[Field] = match record_type {
        RecordType::ANAME | RecordType::CNAME | RecordType::NS | RecordType::PTR => &[Name],
        RecordType::MX => &[U16, Name],
        RecordType::SRV => &[U16, U16, U16, Name],
        RecordType::SOA => &[Name, Name, U32, Time, Time, Time, Time],
        RecordType::NAPTR => &[U16, U16, Text, Text, Text, Name],
        RecordType::HINFO => &[Text, Text],
        RecordType::TXT => return Some(wire(data.iter().map(|word| (Text, word)), style, record_type)),
        _ => return None,
    };
    Some(match data.len() == fields.len() {
        true => wire(fields.iter().copied().zip(data), style, record_type),
        false => Err(format!("{record_type} has {} data fields instead of {}", data.len(), fields.len())),
    })
}

fn wire<'w, 'a: 'w>(
    fields: impl Iterator<Item = (Field, &'w Word<'a>)>,
    style: Style<'_>,
    record_type: RecordType,
) -> Result<RData, String> {
    let are_absolute = style.azure
        && matches!(record_type, RecordType::MX | RecordType::NS | RecordType::PTR | RecordType::SRV);
    let root = Name::root();
    let origin = if are_absolute { &root } else { style.origin };
    let mut wire = Vec::new();
    for (field, word) in fields {
        let text = word.text;
        let number = |most: u32| {
            let number = text.parse::<u32>().ok().filter(|number| *number <= most);
            number.ok_or_else(|| format!("`{text}` is not a number from 0 to {most}"))
        };
        match field {
            Field::Name if text == "@" => push_name(&mut wire, style.origin),
            Field::Name => push_name(&mut wire, &read_name(text, origin)?),
            Field::U16 => wire.extend((number(u32::from(u16::MAX))? as u16).to_be_bytes()),
            Field::U32 => wire.extend(number(u32::MAX)?.to_be_bytes()),
            Field::Time => {
                let time = parse_ttl(text).map_err(|_| format!("invalid time `{text}`"))?;
                wire.extend(time.to_be_bytes());
            }
            Field::Text => {
                let text = unescape(text).ok_or("incomplete escape after `\\`")?;
                if text.len() > MAX_STRING && !style.azure {
                    return Err(format!(
                        "a text of {} bytes is too long: one string holds {MAX_STRING}; split it",
                        text.len()
                    ));
                }
                let mut parts: Vec<&[u8]> = text.chunks(MAX_STRING).collect();
                if parts.is_empty() {
                    parts.push(&[]);
                }
                for part in parts {
                    wire.push(part.len() as u8);
                    wire.extend(part);
                }
            }
        }
    }
    decode(record_type, &wire)
}

fn push_name(wire: &mut Vec<u8>, name: &Name) {
    for label in name.iter() {
        wire.push(label.len() as u8);
        wire.extend(label);
    }
    wire.push(0);
}

/// Data in the generic form for any type: its length and its bytes in hexadecimal (RFC 3597 section 5).
fn unknown(words: &[Word<'_>]) -> Result<Vec<u8>, String> {
    let form = || "write the length and that many hexadecimal bytes after `\\#`".to_owned();
    let (length, digits) = words.split_first().ok_or_else(form)?;
    let length: u16 = length.text.parse().map_err(|_| form())?;
    let digits: String = digits.iter().map(|word| word.text).collect();
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) || digits.len() != 2 * usize::from(length) {
        return Err(form());
    }
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| form());
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn decode(record_type: RecordType, wire: &[u8]) -> Result<RData, String> {
    let length = u16::try_from(wire.len()).map_err(|_| "the data is longer than 65535 bytes".to_owned())?;
    let wrong = |error: String| format!("invalid data for type {record_type}: {error}");
    let mut decoder = BinDecoder::new(wire);
    let data = RData::read(&mut decoder, record_type, Restrict::new(length))
        .map_err(|error| wrong(error.to_string()))?;
    match decoder.is_empty() {
        true => Ok(data),
        false => Err(wrong("unexpected bytes at the end".to_owned())),
    }
}

/// Sorts SvcParams by key number: they may be written in any order (RFC 9460 section 2.1), but are sent in this one.
pub(super) fn sort_parameters(words: &mut [Word<'_>]) {
    const KEYS: [&str; 9] =
        ["mandatory", "alpn", "no-default-alpn", "port", "ipv4hint", "ech", "ipv6hint", "dohpath", "ohttp"];
    words.sort_by_key(|word| {
        let key = word.text.split('=').next().unwrap_or_default().to_ascii_lowercase();
        let known = KEYS.iter().position(|known| *known == key);
        let number = || key.strip_prefix("key").and_then(|number| number.parse().ok());
        known.or_else(number).unwrap_or(usize::MAX)
    });
}
