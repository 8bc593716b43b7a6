//! [`MasterFile`]: a master file read entry by entry (RFC 1035 section 5.1, RFC 2308 section 4).

use std::panic::catch_unwind;
use std::str::FromStr;

use hickory_proto::rr::{DNSClass, Name, Record};
use hickory_proto::serialize::binary::BinEncodable;
use hickory_proto::serialize::txt::{Parser, parse_ttl};

use super::entry::{Entry, Word, entries};
use super::error::{Fault, LocalZoneError};

/// Faults reported of one file; what follows is most often the same mistake again.
pub(super) const MAX_FAULTS: usize = 20;

/// A record and the line it begins on.
pub(super) type Located = (usize, Record);

/// What an entry may leave out, because an earlier one said it.
pub(super) struct MasterFile {
    origin: Name,
    owner: Option<Name>,
    /// From `$TTL`.
    default_ttl: Option<u32>,
    /// Of the record before, which counts where there is no `$TTL`.
    last_ttl: Option<u32>,
}

/// The records of a master file that is no local zone, with the lines they begin on.
pub(crate) fn read_records(
    file: &str,
    text: &str,
    origin: &Name,
) -> Result<Vec<(usize, Record)>, Vec<LocalZoneError>> {
    let in_file = |faults: Vec<Fault>| faults.into_iter().map(|fault| fault.in_file(file)).collect();
    // What is pasted may end without a line ending.
    MasterFile::read(&format!("{text}\n"), origin).map_err(in_file)
}

impl MasterFile {
    /// Reads all records of `text`, relative names being relative to `origin`; or its first [`MAX_FAULTS`] faults.
    pub(super) fn read(text: &str, origin: &Name) -> Result<Vec<Located>, Vec<Fault>> {
        let mut file = Self { origin: origin.clone(), owner: None, default_ttl: None, last_ttl: None };
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

    /// A record, or none for a directive.
    fn read_entry(&mut self, entry: &Entry<'_>) -> Result<Option<Located>, Fault> {
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
        check_fields(entry.line, fields)?;
        let mut record = self.read_record(entry.line, fields)?;
        record.name = owner;
        self.last_ttl = Some(record.ttl);
        Ok(Some((entry.line, record)))
    }

    fn read_directive(&mut self, entry: &Entry<'_>) -> Result<(), Fault> {
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
                    Fault::at(entry.line, "no time to live", "write seconds, as `3600`, or `1h`")
                });
                self.default_ttl = Some(ttl?);
                Ok(())
            }
            "$INCLUDE" => Err(Fault::at(
                entry.line,
                "$INCLUDE is refused: a zone is read from the one file the settings name",
                "put the records into this file",
            )),
            other => Err(Fault::at(
                entry.line,
                format!("`{other}` is no directive"),
                "only $ORIGIN and $TTL are; write out what else a server generates",
            )),
        }
    }

    /// A name as written, completed with the origin unless it ends in a dot.
    fn read_name(&self, line: usize, text: &str) -> Result<Name, Fault> {
        if text == "@" {
            return Ok(self.origin.clone());
        }
        let mut name = Name::parse(text, Some(&self.origin))
            .map_err(|error| Fault::at(line, format!("`{text}` is no name: {error}"), "correct the name"))?;
        name.set_fqdn(true);
        Ok(name)
    }

    /// Lets hickory read one record, of which it sees one line and no owner.
    fn read_record(&self, line: usize, fields: &[Word<'_>]) -> Result<Record, Fault> {
        let mut text = String::new();
        if let Some(ttl) = self.default_ttl.or(self.last_ttl) {
            text = format!("$TTL {ttl}\n");
        }
        text.push('@');
        for field in fields {
            match (field.quoted, field.text) {
                (true, quoted) => text.extend([" \"", quoted, "\""]),
                // hickory knows `@` only as an owner; a name without characters is the origin, too.
                (false, "@") => text.push_str(" \"\""),
                (false, bare) => text.extend([" ", bare]),
            }
        }
        // Older versions of the parser panicked on some of the rarer types; a bad file must not end the process.
        let parsed = catch_unwind(|| {
            let (_, mut sets) = Parser::new(text, None, Some(self.origin.clone())).parse()?;
            let record = sets.pop_first().and_then(|(_, set)| set.record().cloned());
            // Text strings over 255 bytes are found here, not when a client asks.
            record.map(|record| record.to_bytes().map(|_| record)).transpose().map_err(Into::into)
        });
        let reason = match parsed {
            Ok(Ok(Some(record))) if record.dns_class == DNSClass::IN => return Ok(record),
            Ok(Ok(Some(record))) => format!("class {} is not served", record.dns_class),
            Ok(Ok(None)) => "the record has no data".to_owned(),
            Ok(Err(error)) => one_line(&error),
            Err(_) => "the parser failed on this record".to_owned(),
        };
        Err(Fault::at(line, format!("no valid record: {reason}"), "write `NAME [TTL] [IN] TYPE DATA`"))
    }
}

/// True where the last line is more than a comment and has no line ending: half a name is another name.
fn is_cut_off(text: &str) -> bool {
    let last = text.rsplit('\n').next().unwrap_or_default().trim_start();
    !last.is_empty() && !last.starts_with(';')
}

fn one_line(error: &hickory_proto::serialize::txt::ParseError) -> String {
    error.to_string().replace(char::is_control, " ")
}

/// Refuses a record with more or fewer fields than its type has, of which hickory would drop the surplus.
fn check_fields(line: usize, fields: &[Word<'_>]) -> Result<(), Fault> {
    let is_ttl_or_class = |word: &&Word<'_>| {
        parse_ttl(word.text).is_ok() || DNSClass::from_str(&word.text.to_ascii_uppercase()).is_ok()
    };
    let before_type = fields.iter().take_while(is_ttl_or_class).count();
    let Some((record_type, data)) = fields[before_type..].split_first() else {
        return Err(Fault::at(line, "the record has no type", "write `NAME [TTL] [IN] TYPE DATA`"));
    };
    let record_type = record_type.text.to_ascii_uppercase();
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
    // hickory takes the target of these two for absolute whatever it is.
    if matches!(record_type.as_str(), "SVCB" | "HTTPS")
        && data.get(1).is_some_and(|name| !name.text.ends_with('.'))
    {
        return Err(Fault::at(
            line,
            format!("the {record_type} target is relative"),
            "write it out, with a final dot",
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
        // Without $TTL the last one counts.
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
        assert_eq!(faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(), (2..=16).collect::<Vec<_>>());
        assert!(faults[3].1.starts_with("$INCLUDE is refused"));
        assert_eq!(fault(" A 10.0.0.1\n"), (1, "the record has no owner".to_owned()));
        assert!(fault("a A 10.0.0.1\n").1.contains("ttl"));
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
