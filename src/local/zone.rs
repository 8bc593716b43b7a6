//! [`LocalZone`]: the records of one zone and how they are looked up (RFC 1034 section 4.3.2, RFC 4592).
//!
//! A handler of our own, because hickory's in-memory zone answers NXDOMAIN for a name that a wildcard covers with other
//! types, uses a wildcard for a name that exists, and scans all records for each negative answer.

use std::collections::HashMap;

use async_trait::async_trait;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{LowerName, Name, RData, Record, RecordType, TSigResponseContext};
use hickory_proto::serialize::binary::BinEncodable;
use hickory_server::server::{Request, RequestInfo};
use hickory_server::zone_handler::{
    AuthLookup, AxfrPolicy, LookupControlFlow, LookupError, LookupOptions, LookupRecords, ZoneHandler,
    ZoneType,
};

use super::fault::Fault;
use super::master_file::{Located, MAX_FAULTS};

/// Maximum CNAME records in one answer. BIND and Unbound give up after 11.
pub(super) const MAX_ALIASES: usize = 16;

/// A zone in the form that answers queries.
pub(super) struct LocalZone {
    origin: LowerName,
    /// All names of the zone, including empty ones between a record and the origin.
    nodes: HashMap<LowerName, Vec<Record>>,
    /// The SOA for negative answers.
    negative_soa: Record,
}

impl LocalZone {
    /// Builds a zone from the records of a master file, or returns the faults.
    pub(super) fn new(origin: &Name, records: Vec<Located>) -> Result<Self, Vec<Fault>> {
        let origin = LowerName::from(origin);
        let mut nodes = HashMap::from([(origin.clone(), Vec::new())]);
        let faults: Vec<Fault> = records
            .into_iter()
            .filter_map(|(line, record)| insert(&mut nodes, &origin, line, record).err())
            .take(MAX_FAULTS)
            .collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        if let Some(fault) = nodes.iter().find_map(|(owner, node)| oversized(owner, node)) {
            return Err(vec![fault]);
        }
        let soa = nodes[&origin].iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some((record, soa.minimum)),
            _ => None,
        });
        let Some((soa, minimum)) = soa else {
            return Err(vec![Fault::whole(
                "the zone has no SOA record",
                "begin the file with `@ 3600 IN SOA ns hostmaster 1 3600 600 604800 300`",
            )]);
        };
        let mut negative_soa = soa.clone();
        // RFC 2308 section 3: "The TTL of this record is set from the minimum of the MINIMUM field of the SOA record
        // and the TTL of the SOA itself".
        negative_soa.ttl = soa.ttl.min(minimum);
        Ok(Self { origin, nodes, negative_soa })
    }

    /// Number of records.
    pub(super) fn len(&self) -> usize {
        self.nodes.values().map(Vec::len).sum()
    }

    /// The records at `name` or of the wildcard that covers it; `None` if the name does not exist.
    fn node(&self, name: &LowerName) -> Option<&[Record]> {
        if !self.origin.zone_of(name) {
            return None;
        }
        if let Some(node) = self.nodes.get(name) {
            return Some(node);
        }
        let mut next_closer = name.clone();
        while !next_closer.is_root() {
            let encloser = next_closer.base_name();
            // RFC 4592 section 3.3.1: the source of synthesis is "the asterisk label" below the closest encloser.
            if self.nodes.contains_key(&encloser) {
                return self.nodes.get(&next_closer.into_wildcard()).map(Vec::as_slice);
            }
            next_closer = encloser;
        }
        None
    }

    /// The records that answer a question, preceded by any chain of aliases. The chain ends where it leaves the zone,
    /// or after one more than [`MAX_ALIASES`].
    fn answer(&self, name: &LowerName, record_type: RecordType) -> Result<Vec<Record>, LookupError> {
        let mut answer: Vec<Record> = Vec::new();
        let mut owner = name.clone();
        while answer.len() <= MAX_ALIASES {
            let Some(node) = self.node(&owner) else {
                return if answer.is_empty() { Err(ResponseCode::NXDomain.into()) } else { Ok(answer) };
            };
            let wanted = match (record_type, node.first()) {
                // RFC 8482 section 4.1: a responder may answer ANY with one RRset of its choice.
                (RecordType::ANY, Some(first)) => first.record_type(),
                _ => record_type,
            };
            let owned =
                |record: &Record| Record::from_rdata(owner.clone().into(), record.ttl, record.data.clone());
            let found = answer.len();
            answer.extend(node.iter().filter(|record| record.record_type() == wanted).map(owned));
            if answer.len() > found {
                return Ok(answer);
            }
            let alias = node.iter().find_map(|record| match &record.data {
                RData::CNAME(target) => Some((owned(record), LowerName::from(&target.0))),
                _ => None,
            });
            match alias {
                Some((record, target)) => {
                    answer.push(record);
                    owner = target;
                }
                None if answer.is_empty() => return Err(LookupError::NameExists),
                None => return Ok(answer),
            }
        }
        Ok(answer)
    }
}

/// Maximum bytes for the records of one answer: 65,535 per message, minus 12 for the header and 259 for the longest
/// question.
const MAX_SET: usize = 65_535 - 12 - 259;

/// Length of the longest name that a wildcard may match.
const MAX_NAME: usize = 255;

/// A fault if `owner`'s records of one type do not fit in one answer, even over TCP.
fn oversized(owner: &LowerName, node: &[Record]) -> Option<Fault> {
    let name_len = if owner.is_wildcard() { MAX_NAME } else { owner.len() };
    let mut sizes: HashMap<RecordType, (usize, usize)> = HashMap::new();
    for record in node {
        let (count, size) = sizes.entry(record.record_type()).or_default();
        // The data of a record follows its name and ten bytes (RFC 1035 section 3.2.1).
        let data = record.data.to_bytes().map_or(0, |data| data.len());
        (*count, *size) = (*count + 1, *size + name_len + 10 + data);
    }
    let (record_type, (count, size)) = sizes.into_iter().find(|(_, (_, size))| *size > MAX_SET)?;
    Some(Fault::whole(
        format!(
            "`{owner}` has {count} {record_type} records, which take {size} bytes; an answer has room for {MAX_SET}"
        ),
        "remove some of them, or spread them over several names",
    ))
}

/// Adds a record, or returns why it cannot be in the zone.
fn insert(
    nodes: &mut HashMap<LowerName, Vec<Record>>,
    origin: &LowerName,
    line: usize,
    record: Record,
) -> Result<(), Fault> {
    let owner = LowerName::from(&record.name);
    let at_origin = owner == *origin;
    let record_type = record.record_type();
    if !origin.zone_of(&owner) {
        return Err(Fault::at(
            line,
            format!("`{}` is outside the zone `{origin}`", record.name),
            "correct the name, $ORIGIN, or the origin in the settings",
        ));
    }
    if record_type == RecordType::SOA && !at_origin {
        return Err(Fault::at(
            line,
            format!("the SOA record is at `{owner}`, but the zone is `{origin}`"),
            "use the same name for both",
        ));
    }
    if record_type == RecordType::NS && !at_origin {
        return Err(Fault::at(
            line,
            format!("`{owner}` is delegated to another server, which clients of a resolver cannot follow"),
            "remove the NS record and add the names below it to this zone, or to a separate one",
        ));
    }
    let mut parent = owner.clone();
    while !nodes.contains_key(&parent) {
        nodes.insert(parent.clone(), Vec::new());
        parent = parent.base_name();
    }
    let node = nodes.entry(owner).or_default();
    // RFC 2181 section 5: duplicates "should be suppressed".
    if node.contains(&record) {
        return Ok(());
    }
    let has = |wanted| node.iter().any(|other| other.record_type() == wanted);
    if record_type == RecordType::SOA && has(RecordType::SOA) {
        return Err(Fault::at(line, "the zone has a second SOA record", "keep one of them"));
    }
    // RFC 1034 section 3.6.2: "If a CNAME RR is present at a node, no other data should be present".
    if has(RecordType::CNAME) || record_type == RecordType::CNAME && !node.is_empty() {
        return Err(Fault::at(
            line,
            format!("`{}` has a CNAME record and another record", record.name),
            "keep only the CNAME, or remove it",
        ));
    }
    node.push(record);
    Ok(())
}

#[async_trait]
impl ZoneHandler for LocalZone {
    fn zone_type(&self) -> ZoneType {
        ZoneType::Primary
    }

    fn axfr_policy(&self) -> AxfrPolicy {
        AxfrPolicy::Deny
    }

    fn origin(&self) -> &LowerName {
        &self.origin
    }

    /// What the catalog needs besides the answer: the SOA of a negative answer, the NS set next to an SOA.
    async fn lookup(
        &self,
        _name: &LowerName,
        record_type: RecordType,
        _request: Option<&RequestInfo<'_>>,
        _options: LookupOptions,
    ) -> LookupControlFlow<AuthLookup> {
        let records = match record_type {
            RecordType::SOA => vec![self.negative_soa.clone()],
            // An empty set, because the catalog would log an error for every SOA query.
            _ => self.answer(&self.origin, record_type).unwrap_or_default(),
        };
        LookupControlFlow::Continue(Ok(LookupRecords::Section(records).into()))
    }

    async fn search(
        &self,
        request: &Request,
        _options: LookupOptions,
    ) -> (LookupControlFlow<AuthLookup>, Option<TSigResponseContext>) {
        let answer = request
            .request_info()
            .and_then(|info| self.answer(info.query.name(), info.query.query_type()))
            .map(|records| LookupRecords::Section(records).into());
        (LookupControlFlow::Break(answer), None)
    }

    async fn nsec_records(
        &self,
        _name: &LowerName,
        _options: LookupOptions,
    ) -> LookupControlFlow<AuthLookup> {
        LookupControlFlow::Continue(Ok(AuthLookup::default()))
    }
}
