//! Numbers and mnemonics of types, classes and response codes.

/// QR: a response.
pub(crate) const QR: u16 = 0x8000;
/// AA: authoritative.
pub(crate) const AA: u16 = 0x0400;
/// TC: truncated.
pub(crate) const TC: u16 = 0x0200;
/// RD: recursion desired.
pub(crate) const RD: u16 = 0x0100;
/// RA: recursion available.
pub(crate) const RA: u16 = 0x0080;
/// Z: reserved.
pub(crate) const Z: u16 = 0x0040;
/// AD: authentic data.
pub(crate) const AD: u16 = 0x0020;
/// CD: checking disabled.
pub(crate) const CD: u16 = 0x0010;

/// Header flags by their mnemonic, or any bits as `0x000f`.
pub(crate) fn flag(text: &str) -> u16 {
    if let Some(bits) = text.strip_prefix("0x") {
        return u16::from_str_radix(bits, 16).expect("sixteen bits");
    }
    match text {
        "QR" => QR,
        "AA" => AA,
        "TC" => TC,
        "RD" => RD,
        "RA" => RA,
        "Z" => Z,
        "AD" => AD,
        "CD" => CD,
        _ => panic!("no header flag is called {text}"),
    }
}

/// OPT.
pub(crate) const OPT: u16 = 41;

const TYPES: [(&str, u16); 29] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("NULL", 10),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("DNAME", 39),
    ("OPT", OPT),
    ("DS", 43),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("NSEC3", 50),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("TKEY", 249),
    ("TSIG", 250),
    ("IXFR", 251),
    ("AXFR", 252),
    ("MAILB", 253),
    ("MAILA", 254),
    ("ANY", 255),
    ("URI", 256),
    ("CAA", 257),
];

const CLASSES: [(&str, u16); 5] = [("IN", 1), ("CH", 3), ("HS", 4), ("NONE", 254), ("ANY", 255)];

const RCODES: [(&str, u16); 8] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("NOTAUTH", 9),
    ("BADVERS", 16),
];

fn number(table: &[(&str, u16)], generic: &str, text: &str) -> u16 {
    let known = table.iter().find(|(mnemonic, _)| *mnemonic == text).map(|(_, number)| *number);
    let number = known.or_else(|| text.strip_prefix(generic)?.parse().ok());
    number.unwrap_or_else(|| panic!("`{text}` is neither a mnemonic nor {generic}<number>"))
}

fn mnemonic(table: &[(&str, u16)], generic: &str, number: u16) -> String {
    let known = table.iter().find(|(_, candidate)| *candidate == number);
    known.map_or_else(|| format!("{generic}{number}"), |(mnemonic, _)| (*mnemonic).to_owned())
}

/// A type's number, from `AAAA` or `TYPE65534`.
pub(crate) fn type_number(text: &str) -> u16 {
    number(&TYPES, "TYPE", text)
}

/// A type's text.
pub(crate) fn type_text(number: u16) -> String {
    mnemonic(&TYPES, "TYPE", number)
}

/// A class's number, from `CH` or `CLASS0`.
pub(crate) fn class_number(text: &str) -> u16 {
    number(&CLASSES, "CLASS", text)
}

/// A response code's number.
pub(crate) fn rcode_number(text: &str) -> u16 {
    number(&RCODES, "RCODE", text)
}

/// A response code's text.
pub(crate) fn rcode_text(number: u16) -> String {
    mnemonic(&RCODES, "RCODE", number)
}

/// Bytes from hexadecimal text; spaces and line ends are ignored.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|character| !character.is_whitespace())
        .map(|digit| digit.to_digit(16).unwrap_or_else(|| panic!("`{digit}` in hexadecimal `{text}`")))
        .collect();
    assert!(digits.len().is_multiple_of(2), "odd number of hexadecimal digits in `{text}`");
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}
