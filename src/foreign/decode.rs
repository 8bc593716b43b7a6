//! [`decode`]: the text of a file that another program wrote.

use crate::diagnostics::{Diagnostic, Report, Source, source_of};

/// The text of `bytes` in UTF-8, or in UTF-16 with a byte order mark, as Windows PowerShell redirects output.
///
/// Errors: the text has another encoding.
pub fn decode(file: &str, bytes: Vec<u8>) -> Result<Source, Report> {
    let units = match bytes.as_slice() {
        // UTF-32 begins with the mark of UTF-16.
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Err(refused(file, "the file is UTF-32")),
        [0xff, 0xfe, rest @ ..] => pairs(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => pairs(rest, u16::from_be_bytes),
        _ if bytes.contains(&0) => {
            return Err(refused(file, "the file has NUL bytes: it is not UTF-8, or not text"));
        }
        _ => return source_of(file, bytes),
    };
    let text = units.and_then(|units| String::from_utf16(&units).ok());
    text.map(|text| Source::new(file, text))
        .ok_or_else(|| refused(file, "the file begins as UTF-16, but is not valid UTF-16"))
}

fn refused(file: &str, message: &str) -> Report {
    let help = "save it as UTF-8; in PowerShell: `… | Out-File -Encoding utf8 FILE`".to_owned();
    Diagnostic::error(file, message).with_help(help).into()
}

/// `None` if a byte is left over.
fn pairs(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Vec<u16>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().copied().map(unit).collect())
}
