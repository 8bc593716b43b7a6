//! Imports an Azure private DNS zone (API version 2020-06-01 and later; `az network private-dns`) as a local zone.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hickory_proto::rr::{Name, RData, RecordType};

use super::Imported;
use super::master_file::{self, written};
use crate::diagnostics::{Diagnostic, Report, Source};
use crate::foreign::{Json, azure_records, parse};
use crate::util::escape::on_one_line;
use crate::wire::presentation::read_name;

const SHAPE: &str = "use the output of `az network private-dns record-set list`: an array of record sets with `fqdn`, \
                     `name`, `ttl`, `type` and their records";
/// Origin of relative names if the file names none.
const UNNAMED: &str = "unnamed.invalid.";

/// Reads either format; the first character tells which.
pub(super) fn import(source: &Source) -> Result<Imported, Report> {
    let is_json =
        source.text().trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']).starts_with(['[', '{']);
    let Zone { origin, lines, has_soa, remarks } =
        if is_json { from_json(source)? } else { from_master_file(source)? };
    let complete = remarks.is_empty();
    let soa = if has_soa { "" } else { master_file::SOA };
    let text = format!("$ORIGIN {}\n$TTL 3600\n{soa}{lines}", written(origin.iter()));
    Ok(master_file::imported(vec![master_file::file(source, &origin, text)?], remarks, complete))
}

/// The zone that was read.
struct Zone {
    origin: Name,
    /// Its records as lines of a master file.
    lines: String,
    has_soa: bool,
    /// What was not imported.
    remarks: Vec<String>,
}

fn from_master_file(source: &Source) -> Result<Zone, Report> {
    let whole = |message: &str, help: &str| {
        Report::from(Diagnostic::error(source.file(), message).with_help(help.to_owned()))
    };
    let unnamed = Name::from_ascii(UNNAMED).unwrap_or_default();
    let records = azure_records(source, &unnamed)?;
    let soa = records.iter().find(|(_, record)| record.record_type() == RecordType::SOA);
    let Some((_, soa)) = soa else {
        return Err(whole(
            "the zone has no SOA record",
            "save the whole output of `az network private-dns zone export`",
        ));
    };
    if unnamed.zone_of(&soa.name) {
        return Err(whole(
            "the file does not name its zone",
            "begin the file with the zone, such as `$ORIGIN privatelink.api.azureml.ms.`",
        ));
    }
    let mut lines = String::new();
    for (line, record) in &records {
        let data = data(&record.data).ok_or_else(|| {
            let message = format!("{} records cannot be imported", record.record_type());
            let help = "remove the record, or write the local zone by hand".to_owned();
            let diagnostic = Diagnostic::error(source.file(), message).with_help(help);
            Report::new(source.clone(), vec![diagnostic.at(source.line_range(*line))])
        })?;
        let owner = written(record.name.iter());
        let _ = writeln!(lines, "{owner} {} IN {} {data}", record.ttl, record.record_type());
    }
    Ok(Zone { origin: soa.name.clone(), lines, has_soa: true, remarks: Vec::new() })
}

fn data(data: &RData) -> Option<String> {
    let name = |name: &Name| written(name.iter());
    Some(match data {
        RData::TXT(text) => text.txt_data.iter().map(|part| quoted(part)).collect::<Vec<_>>().join(" "),
        RData::A(_) | RData::AAAA(_) => data.to_string(),
        RData::CNAME(target) => name(&target.0),
        RData::NS(target) => name(&target.0),
        RData::PTR(target) => name(&target.0),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        RData::SOA(soa) => format!(
            "{} {} {} {} {} {} {}",
            name(&soa.mname),
            name(&soa.rname),
            soa.serial,
            soa.refresh,
            soa.retry,
            soa.expire,
            soa.minimum
        ),
        _ => return None,
    })
}

fn from_json(source: &Source) -> Result<Zone, Report> {
    let value = parse(source)?;
    let root = Json::root(&value, source);
    let sets = match root.field("value") {
        Some(list) => list.elements(SHAPE)?,
        None => root.elements(SHAPE)?,
    };
    let first = sets.first().ok_or_else(|| root.fault("no record sets", SHAPE))?;
    let origin = origin(first)?;
    let (mut lines, mut has_soa, mut remarks) = (String::new(), false, Vec::new());
    for set in &sets {
        if self::origin(set)? != origin {
            return Err(
                set.fault(format!("this record set is not in zone `{origin}`"), "import one zone at a time")
            );
        }
        let name = set.required("name", SHAPE)?.text(SHAPE)?;
        let below = if name == "@" { String::new() } else { format!("{name}.") };
        let owner = rr_name(set, &format!("{below}{}", written(origin.iter())))?;
        let owner = written(owner.iter());
        let ttl = set.property("ttl").ok_or_else(|| set.fault("`ttl` is missing", SHAPE))?;
        let ttl = ttl.number(i32::MAX as u64, SHAPE)?;
        let kind = set.required("type", SHAPE)?.text(SHAPE)?;
        let kind = kind.rsplit('/').next().unwrap_or(kind).to_ascii_uppercase();
        has_soa |= kind == "SOA";
        let records = records(set, &kind)?;
        if records.is_empty() {
            remarks.push(format!(
                "{}: `{}`: empty {kind} record set is not imported",
                source.file(),
                set.path()
            ));
        }
        for data in records {
            let _ = writeln!(lines, "{owner} {ttl} IN {kind} {data}");
        }
    }
    Ok(Zone { origin, lines, has_soa, remarks })
}

/// The zone of a record set: its full name without its relative name.
fn origin(set: &Json<'_>) -> Result<Name, Report> {
    let fqdn = set.property("fqdn").ok_or_else(|| set.fault("`fqdn` is missing", SHAPE))?;
    let (full, name) = (fqdn.text(SHAPE)?, set.required("name", SHAPE)?.text(SHAPE)?);
    let full = full.trim_end_matches('.');
    let zone = match name {
        "@" => Some(full),
        name => full.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')),
    };
    let zone = zone
        .ok_or_else(|| fqdn.fault(format!("does not begin with the name `{}`", on_one_line(name)), SHAPE))?;
    rr_name(&fqdn, &format!("{zone}."))
}

fn rr_name(place: &Json<'_>, text: &str) -> Result<Name, Report> {
    let read = read_name(text).and_then(|name| Name::from_labels(name.labels()).ok());
    read.ok_or_else(|| place.fault(format!("`{}` is not a domain name", on_one_line(text)), SHAPE))
}

/// The data of each record of a set.
fn records(set: &Json<'_>, kind: &str) -> Result<Vec<String>, Report> {
    let name = |record: &Json<'_>, field: &str| {
        let target = record.required(field, SHAPE)?;
        let absolute = format!("{}.", target.text(SHAPE)?.trim_end_matches('.'));
        rr_name(&target, &absolute).map(|name| written(name.iter()))
    };
    let number =
        |record: &Json<'_>, field: &str| record.required(field, SHAPE)?.number(u64::from(u32::MAX), SHAPE);
    let many = |field: &str, data: &dyn Fn(&Json<'_>) -> Result<String, Report>| {
        // Azure keeps a set without records, with an empty list or without the list.
        let Some(list) = set.property(field) else { return Ok(Vec::new()) };
        list.elements(SHAPE)?.iter().map(data).collect::<Result<Vec<_>, _>>()
    };
    let one = |field: &str, data: &dyn Fn(&Json<'_>) -> Result<String, Report>| {
        set.property(field).map(|record| data(&record)).into_iter().collect()
    };
    match kind {
        "A" => many("aRecords", &|record| address::<Ipv4Addr>(record, "ipv4Address")),
        "AAAA" => many("aaaaRecords", &|record| address::<Ipv6Addr>(record, "ipv6Address")),
        "CNAME" => one("cnameRecord", &|record| name(record, "cname")),
        "PTR" => many("ptrRecords", &|record| name(record, "ptrdname")),
        "MX" => many("mxRecords", &|record| {
            Ok(format!("{} {}", number(record, "preference")?, name(record, "exchange")?))
        }),
        "SRV" => many("srvRecords", &|record| {
            let numbers = (number(record, "priority")?, number(record, "weight")?, number(record, "port")?);
            Ok(format!("{} {} {} {}", numbers.0, numbers.1, numbers.2, name(record, "target")?))
        }),
        "TXT" => many("txtRecords", &|record| {
            let parts = record.required("value", SHAPE)?.elements(SHAPE)?;
            let parts: Result<Vec<String>, Report> =
                parts.iter().map(|part| part.text(SHAPE).map(strings)).collect();
            Ok(parts?.join(" "))
        }),
        "SOA" => one("soaRecord", &|record| {
            let names = (name(record, "host")?, name(record, "email")?);
            let times = ["serialNumber", "refreshTime", "retryTime", "expireTime", "minimumTtl"];
            let times: Result<Vec<String>, Report> =
                times.iter().map(|field| number(record, field).map(|number| number.to_string())).collect();
            Ok(format!("{} {} {}", names.0, names.1, times?.join(" ")))
        }),
        _ => Err(set.fault(
            format!("unsupported record type `{}`", on_one_line(kind)),
            "remove the record set; supported are A, AAAA, CNAME, MX, PTR, SOA, SRV and TXT",
        )),
    }
}

/// The address in `field`, of the family that the record type needs.
fn address<A: FromStr + ToString>(record: &Json<'_>, field: &str) -> Result<String, Report> {
    let field = record.required(field, SHAPE)?;
    let text = field.text(SHAPE)?;
    let read = text.parse::<A>().map(|address| address.to_string());
    read.map_err(|_| field.fault(format!("`{}` is not an IP address", on_one_line(text)), SHAPE))
}

/// A text as quoted master-file strings of up to 255 bytes each (RFC 1035 section 3.3).
fn strings(text: &str) -> String {
    let mut parts: Vec<String> = text.as_bytes().chunks(255).map(quoted).collect();
    if parts.is_empty() {
        parts.push(quoted(&[]));
    }
    parts.join(" ")
}

/// A quoted master-file string (RFC 1035 section 5.1). Control characters and invalid UTF-8 become `\DDD`.
fn quoted(text: &[u8]) -> String {
    let mut written = String::from("\"");
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => written.extend(['\\', c]),
                c if c.is_control() => escape(&mut written, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => written.push(c),
            }
        }
        escape(&mut written, chunk.invalid());
    }
    written.push('"');
    written
}

fn escape(written: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(written, "\\{byte:03}");
    }
}
