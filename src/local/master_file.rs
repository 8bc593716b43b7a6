//! [`MasterFile`]: reads a master file entry by entry (RFC 1035 section 5.1, RFC 2308 section 4).

use std::panic::catch_unwind;
use std::str::FromStr;

use hickory_proto::rr::{DNSClass, Name, RData, Record};
use hickory_proto::serialize::binary::BinEncodable;
use hickory_proto::serialize::txt::{Parser, parse_ttl};

use super::entry::{LocalEntry, Word, check_for_hickory, entries};
use super::fault::Fault;
use super::rdata::{self, Style};
use crate::diagnostics::{Report, Source};

/// Faults reported per file; later ones mostly repeat the same mistake.
pub(super) const MAX_FAULTS: usize = 20;

/// A record and its first line.
pub(super) type Located = (usize, Record);

/// State that later entries inherit: origin, owner and TTL.
pub(super) struct MasterFile {
    origin: Name,
    owner: Option<Name>,
    /// From `$TTL`.
    default_ttl: Option<u32>,
    /// The last TTL written with a record, used if there is no `$TTL`.
    last_ttl: Option<u32>,
    /// An Azure export: targets without a final dot are absolute, and long text is split.
    azure: bool,
}

/// Reads the records, with their first lines, of a master file that is not a local zone.
pub(crate) fn read_records(
    source: &Source,
    origin: &Name,
    azure: bool,
) -> Result<Vec<(usize, Record)>, Report> {
    // Pasted text may have no final line ending.
    let text = format!("{}\n", source.text());
    MasterFile::read_as(&text, origin, azure).map_err(|faults| Fault::report(faults, source.clone()))
}

impl MasterFile {
    /// Reads all records of `text`, relative to `origin`; on faults, returns the first [`MAX_FAULTS`].
    pub(super) fn read(text: &str, origin: &Name) -> Result<Vec<Located>, Vec<Fault>> {
        Self::read_as(text, origin, false)
    }

    fn read_as(text: &str, origin: &Name, azure: bool) -> Result<Vec<Located>, Vec<Fault>> {
        let mut file = Self { origin: origin.clone(), owner: None, default_ttl: None, last_ttl: None, azure };
        let mut records = Vec::new();
        let mut faults = Vec::new();
        // Editors on Windows begin a UTF-8 file with a byte order mark.
        for entry in entries(text.trim_start_matches('\u{feff}')) {
            match entry.and_then(|entry| file.read_entry(&entry)) {
                Ok(record) => records.extend(record),
                Err(fault) => faults.push(fault),
            }
            if faults.len() == MAX_FAULTS {
                break;
            }
        }
        if is_cut_off(text)
            && let Some((line, _)) = records.last()
        {
            let message = "the last line has no line ending: the file may be cut off";
            faults.push(Fault::at(*line, message, "end it with a line ending"));
        }
        if faults.is_empty() { Ok(records) } else { Err(faults) }
    }

    /// Reads a record; returns `None` for a directive.
    fn read_entry(&mut self, entry: &LocalEntry<'_>) -> Result<Option<Located>, Fault> {
        if !entry.owner_omitted && !entry.words[0].quoted && entry.words[0].text.starts_with('$') {
            return self.read_directive(entry).map(|()| None);
        }
        let fields = if entry.owner_omitted {
            &entry.words[..]
        } else {
            self.owner = Some(self.read_name(entry.line, entry.words[0].text)?);
            &entry.words[1..]
        };
        let owner = self.owner.clone().ok_or_else(|| {
            Fault::at(
                entry.line,
                "the record has no owner",
                "begin the line with a name, or `@` for the origin",
            )
        })?;
        let mut record = self.read_record(entry.line, fields)?;
        record.name = owner;
        Ok(Some((entry.line, record)))
    }

    fn read_directive(&mut self, entry: &LocalEntry<'_>) -> Result<(), Fault> {
        let argument = |remedy: &str| match entry.words[1..] {
            [argument] => Ok(argument.text),
            _ => Err(Fault::at(entry.line, "the directive takes one argument", remedy)),
        };
        match entry.words[0].text.to_ascii_uppercase().as_str() {
            "$ORIGIN" => {
                let name = argument("write `$ORIGIN example.com.`")?;
                self.origin = self.read_name(entry.line, name)?;
                Ok(())
            }
            "$TTL" => {
                let ttl = parse_ttl(argument("write `$TTL 3600`")?);
                let ttl = ttl.map_err(|_| {
                    Fault::at(entry.line, "invalid TTL", "write seconds such as `3600`, or `1h`")
                });
                self.default_ttl = Some(ttl?);
                Ok(())
            }
            "$INCLUDE" => Err(Fault::at(
                entry.line,
                "$INCLUDE is not supported: a zone is read from one file",
                "copy the records into this file",
            )),
            other => Err(Fault::at(
                entry.line,
                format!("unknown directive `{other}`"),
                "use $ORIGIN or $TTL; write generated records out",
            )),
        }
    }

    /// Reads a name, relative to the origin unless it ends in a dot.
    fn read_name(&self, line: usize, text: &str) -> Result<Name, Fault> {
        rdata::read_name(text, &self.origin).map_err(|message| Fault::at(line, message, "correct the name"))
    }

    fn read_record(&mut self, line: usize, fields: &[Word<'_>]) -> Result<Record, Fault> {
        const REMEDY: &str = "write `NAME [TTL] [IN] TYPE DATA`";
        let (ttl, fields) = split_fields(line, fields)?;
        let Some((kind, data)) = fields.split_first() else {
            return Err(Fault::at(line, "the record has no type", REMEDY));
        };
        let unread = |reason: String| {
            Fault::at(line, format!("invalid record: {reason}"), "correct the record's data")
        };
        let Some(record_type) = rdata::record_type(kind.text) else {
            let message = format!("unknown record type `{}`", kind.text);
            return Err(Fault::at(
                line,
                message,
                "use a known type, or `TYPE123` with data `\\# LENGTH HEX`",
            ));
        };
        let style = Style { origin: &self.origin, azure: self.azure };
        let data = match rdata::read(record_type, data, style) {
            Some(read) => {
                check_count(line, kind.text, data)?;
                read.map_err(unread)?
            }
            None => self.read_by_hickory(line, kind, data)?,
        };
        self.last_ttl = ttl.or(self.last_ttl);
        let known = ttl.or(self.default_ttl).or(self.last_ttl);
        // Like BIND: without a TTL, the first SOA and what follows use its minimum.
        if let (None, RData::SOA(soa)) = (known, &data) {
            self.default_ttl = Some(soa.minimum);
        }
        let ttl = known.or(self.default_ttl).ok_or_else(|| {
            Fault::at(
                line,
                "the record has no TTL, and no line before it sets one",
                "add `$TTL 3600` at the top",
            )
        })?;
        let record = Record::from_rdata(Name::root(), ttl, data);
        match record.to_bytes() {
            Ok(_) => Ok(record),
            Err(error) => Err(unread(error.to_string())),
        }
    }

    /// Lets hickory read the data, as one line without an owner.
    fn read_by_hickory(&self, line: usize, kind: &Word<'_>, data: &[Word<'_>]) -> Result<RData, Fault> {
        for word in data {
            check_for_hickory(word).map_err(|(message, remedy)| Fault::at(line, message, remedy))?;
        }
        check_count(line, kind.text, data)?;
        let mut data = data.to_vec();
        let is_service = matches!(kind.text.to_ascii_uppercase().as_str(), "SVCB" | "HTTPS");
        let mut target = None;
        if is_service && data.len() > 1 {
            // hickory treats every target as absolute and accepts fewer labels.
            target = Some(self.read_name(line, data[1].text)?);
            data[1] = Word { text: ".", quoted: false };
            rdata::sort_parameters(&mut data[2..]);
        }
        let mut text = format!("$TTL 0\n@ {}", kind.text);
        for field in &data {
            match (field.quoted, field.text) {
                (true, quoted) => text.extend([" \"", quoted, "\""]),
                // hickory accepts `@` only as an owner; an empty name also means the origin.
                (false, "@") => text.push_str(" \"\""),
                (false, bare) => text.extend([" ", bare]),
            }
        }
        // Older versions of the parser panicked on some rarer types. A bad file must not end the process.
        let parsed = catch_unwind(|| {
            let (_, mut sets) = Parser::new(text, None, Some(self.origin.clone())).parse()?;
            Ok(sets.pop_first().and_then(|(_, set)| set.record().cloned()))
        });
        let reason = match parsed {
            Ok(Ok(Some(record))) => {
                let mut data = record.data;
                if let (Some(target), RData::SVCB(svcb)) = (&target, &mut data) {
                    svcb.target_name = target.clone();
                }
                if let (Some(target), RData::HTTPS(https)) = (&target, &mut data) {
                    https.0.target_name = target.clone();
                }
                return Ok(data);
            }
            Ok(Ok(None)) => "the record has no data".to_owned(),
            Ok(Err(error)) => one_line(&error),
            Err(_) => "the parser failed on this record".to_owned(),
        };
        Err(Fault::at(line, format!("invalid record: {reason}"), "correct the record's data"))
    }
}

/// True if the last line is more than a comment and has no line ending: a truncated name is a different name.
fn is_cut_off(text: &str) -> bool {
    let last = text.rsplit('\n').next().unwrap_or_default().trim_start();
    !last.is_empty() && !last.starts_with(';')
}

fn one_line(error: &hickory_proto::serialize::txt::ParseError) -> String {
    error.to_string().replace(char::is_control, " ")
}

/// Splits off the TTL before a record's type. Returns it with the remaining fields, the type first.
fn split_fields<'f, 'a>(
    line: usize,
    mut fields: &'f [Word<'a>],
) -> Result<(Option<u32>, &'f [Word<'a>]), Fault> {
    let mut ttl = None;
    while let Some((word, rest)) = fields.split_first() {
        if let Ok(written) = parse_ttl(word.text) {
            ttl = Some(written);
        } else if let Ok(class) = DNSClass::from_str(&word.text.to_ascii_uppercase()) {
            if class != DNSClass::IN {
                let message = format!("invalid record: class {class} is not supported");
                return Err(Fault::at(line, message, "use class IN, or leave the class out"));
            }
        } else {
            break;
        }
        fields = rest;
    }
    Ok((ttl, fields))
}

/// Rejects data with more or fewer fields than its type has. hickory would drop surplus fields.
fn check_count(line: usize, record_type: &str, data: &[Word<'_>]) -> Result<(), Fault> {
    if data.first().is_some_and(|word| word.text == "\\#") {
        return Ok(());
    }
    let record_type = record_type.to_ascii_uppercase();
    let (least, most) = match record_type.as_str() {
        "A" | "AAAA" | "ANAME" | "CNAME" | "NS" | "PTR" => (1, 1),
        "HINFO" | "MX" => (2, 2),
        "CAA" => (3, 3),
        "CERT" | "SRV" => (4, 4),
        "NAPTR" => (6, 6),
        "SOA" => (7, 7),
        "TXT" => (1, usize::MAX),
        _ => (0, usize::MAX),
    };
    if !(least..=most).contains(&data.len()) {
        return Err(Fault::at(
            line,
            format!("{record_type} has {} data fields instead of {least}", data.len()),
            "write one record on each line, and text with spaces in quotes",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Vec<(usize, String)>> {
        let origin = Name::from_ascii("corp.example.").unwrap();
        MasterFile::read(text, &origin)
            .map(|records| records.iter().map(|(line, record)| format!("{line} {record}")).collect())
            .map_err(|faults| faults.into_iter().map(|fault| (fault.line.unwrap(), fault.message)).collect())
    }

    fn fault(text: &str) -> (usize, String) {
        read(text).unwrap_err().swap_remove(0)
    }

    #[test]
    fn names_times_and_classes_carry_over() {
        let records = read(
            "\u{feff}$TTL 1h\n@ IN SOA @ host\\.master (1 2 3 4 5)\n NS ns.other.example.\n$ORIGIN sub\n\
             www 60 in a 10.0.0.1\n\tIN 61 A 10.0.0.2\n@ CNAME @\n*.x aaaa ::1\n",
        )
        .unwrap();
        assert_eq!(
            records,
            [
                "2 corp.example. 3600 IN SOA corp.example. host\\.master.corp.example. 1 2 3 4 5",
                "3 corp.example. 3600 IN NS ns.other.example.",
                "5 www.sub.corp.example. 60 IN A 10.0.0.1",
                "6 www.sub.corp.example. 61 IN A 10.0.0.2",
                "7 sub.corp.example. 3600 IN CNAME sub.corp.example.",
                "8 *.x.sub.corp.example. 3600 IN AAAA ::1",
            ]
        );
        // Without $TTL, the last TTL is used.
        assert_eq!(read("a 7 A 10.0.0.1\nb A 10.0.0.2\n").unwrap()[1], "2 b.corp.example. 7 IN A 10.0.0.2");
    }

    #[test]
    fn text_keeps_its_quotes_apart_also_in_parentheses() {
        let records = read("$TTL 5\na TXT ( \"v=1; k\"\n  \"two \\\"words\\\"\" bare )\n").unwrap();
        assert_eq!(records, ["2 a.corp.example. 5 IN TXT v=1; ktwo \"words\"bare"]);
        let long = format!("$TTL 5\na TXT \"{}\"\n", "x".repeat(255));
        assert!(read(&long).is_ok());
        let (line, message) = fault(&format!("$TTL 5\na TXT \"{}\"\n", "x".repeat(256)));
        assert!(line == 2 && message.contains("255"), "{message}");
    }

    #[test]
    fn every_fault_has_its_line() {
        let faults = read(
            "$TTL 60\na A 10.0.0.256\nb A 10.0.0.1 10.0.0.2\nc NOSUCH x\n$INCLUDE /etc/passwd\n$GENERATE 1-2 a A 1\n\
             d CH A 10.0.0.1\ne\nf TYPE65280 \\# 1 00\ng MX 10\nh 3600\ni TXT\n$TTL x\n$ORIGIN\nj..k A 10.0.0.1\n\
             l HTTPS 1 svc alpn=h2\nok A 10.0.0.1\n",
        )
        .unwrap_err();
        // Accepted: data of an unknown type, and a relative target.
        let expected: Vec<usize> = (2..=15).filter(|line| *line != 9).collect();
        assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), expected);
        assert!(faults[3].1.starts_with("$INCLUDE is not supported"));
        assert_eq!(fault(" A 10.0.0.1\n"), (1, "the record has no owner".to_owned()));
        assert!(fault("a A 10.0.0.1\n").1.contains("TTL"));
        assert_eq!(read(&"x A\n".repeat(100)).unwrap_err().len(), MAX_FAULTS);
    }

    #[test]
    fn a_last_line_that_is_cut_off_is_a_fault_and_a_comment_is_none() {
        let message = "the last line has no line ending: the file may be cut off".to_owned();
        assert_eq!(fault("$TTL 5\na NS ns\nb NS ns.corp"), (3, message));
        for sound in ["$TTL 5\na NS ns\n; the end", "$TTL 5\na NS ns\n  ", "$TTL 5\na NS ns\r\n"] {
            assert!(read(sound).is_ok(), "{sound:?}");
        }
    }
}
