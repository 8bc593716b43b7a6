//! [`LocalZone`]: one zone's records and the search in them (RFC 1034 section 4.3.2, RFC 4592).
//!
//! hickory's own in-memory zone says NXDOMAIN for a name that a wildcard covers with other types, lets a wildcard
//! stand in for a name that exists, and scans all records for each negative answer; hence a handler of our own.

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

use super::error::Fault;
use super::master_file::{Located, MAX_FAULTS};

/// Most CNAME records in one answer. BIND and Unbound give up after 11.
pub(super) const MAX_ALIASES: usize = 16;

/// A zone as it is answered from.
pub(super) struct LocalZone {
    origin: LowerName,
    /// All names of the zone, those included that only lie between a record and the origin.
    nodes: HashMap<LowerName, Vec<Record>>,
    /// The SOA as negative answers carry it.
    negative_soa: Record,
}

impl LocalZone {
    /// Takes the records of a master file as a zone, or says which of them cannot be in it.
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
                "begin with `@ 3600 IN SOA ns hostmaster 1 3600 600 604800 300`",
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

    /// The records at `name`, those of the wildcard that covers it, or none where it does not exist.
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

    /// The records that answer a question, a chain of aliases first: it ends where the zone does, or with one more than
    /// [`MAX_ALIASES`].
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

/// Bytes that the records of one answer may take: a message has 65,535, of which the header takes 12 and the longest question 259.
const MAX_SET: usize = 65_535 - 12 - 259;

/// The longest name, for which a wildcard may stand.
const MAX_NAME: usize = 255;

/// Why the records of `owner` that are of one type cannot be given in one answer, over TCP either.
fn oversized(owner: &LowerName, node: &[Record]) -> Option<Fault> {
    let name_len = if owner.is_wildcard() { MAX_NAME } else { owner.len() };
    let mut sizes: HashMap<RecordType, (usize, usize)> = HashMap::new();
    for record in node {
        let (count, size) = sizes.entry(record.record_type()).or_default();
        // Before the data of a record stand its name and ten bytes (RFC 1035 section 3.2.1).
        let data = record.data.to_bytes().map_or(0, |data| data.len());
        (*count, *size) = (*count + 1, *size + name_len + 10 + data);
    }
    let (record_type, (count, size)) = sizes.into_iter().find(|(_, (_, size))| *size > MAX_SET)?;
    Some(Fault::whole(
        format!(
            "`{owner}` has {count} {record_type} records, which take {size} bytes; an answer has room for {MAX_SET}"
        ),
        "keep fewer of them, or spread them over several names",
    ))
}

/// Adds a record, or says why the zone cannot hold it.
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
            format!("the SOA belongs to `{owner}`, the zone is `{origin}`"),
            "give both the same name",
        ));
    }
    if record_type == RecordType::NS && !at_origin {
        return Err(Fault::at(
            line,
            format!("`{owner}` is delegated to another server, which a client of a resolver cannot follow"),
            "remove the NS record and write the names below it into this zone, or load them as a zone of their own",
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
            format!("`{}` has a CNAME record and another one", record.name),
            "keep the CNAME alone, or leave it out",
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

    /// What the catalog wants besides the answer: the SOA of a negative one, the NS set next to an SOA.
    async fn lookup(
        &self,
        _name: &LowerName,
        record_type: RecordType,
        _request: Option<&RequestInfo<'_>>,
        _options: LookupOptions,
    ) -> LookupControlFlow<AuthLookup> {
        let records = match record_type {
            RecordType::SOA => vec![self.negative_soa.clone()],
            // An empty set rather than an error, which the catalog would log for every SOA query.
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
