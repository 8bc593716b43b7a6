//! [`LocalZones`]: the zones that the resolver serves with authority.

use std::collections::HashMap;
use std::future::Future;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hickory_proto::rr;
use hickory_server::net::runtime::TokioTime;
use hickory_server::net::xfer::Protocol;
use hickory_server::server::{Request, RequestHandler};
use hickory_server::zone_handler::{Catalog, ZoneHandler};
use sha2::{Digest, Sha256};

use super::alias;
use super::capture::Capture;
use super::fault::Fault;
use super::master_file::MasterFile;
use super::zone::{LocalZone, MAX_ALIASES};
use crate::diagnostics::{Diagnostic, Report, Source, source_of};
use crate::wire::code::{Class, Type};
use crate::wire::header::{HEADER, Header};
use crate::wire::name::Name;
use crate::wire::query::parse_question;

/// Largest master file in bytes: about 100,000 records, which use about 170 MB of memory (measured).
pub const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// A local zone in the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSource {
    /// The zone's top name.
    pub origin: Name,
    /// Its master file (RFC 1035 section 5).
    pub file: PathBuf,
}

/// An answer from the local zones.
#[derive(Clone, Debug)]
pub struct LocalAnswer {
    /// The response.
    pub message: Vec<u8>,
    /// The final target of the aliases, if it is outside all local zones.
    pub leads_to: Option<Name>,
}

/// Why the local zones have no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalFailure {
    /// No zone contains the name, or zones do not answer this kind of query: another class or opcode, AXFR and similar.
    NotHeld,
    /// Too many aliases; possibly a loop. RFC 1034 section 3.6.2: "CNAME loops signalled as an error".
    TooManyAliases,
}

/// Zones served with authority (AA=1), immutable once loaded: a reload loads new ones and replaces them as a whole.
pub struct LocalZones {
    origins: Vec<Name>,
    lengths: Vec<usize>,
    catalog: Catalog,
    digest: Sha256,
}

impl LocalZones {
    /// Reads every file. On any fault loads nothing and returns all faults.
    pub fn load(sources: &[LocalSource]) -> Result<Self, Report> {
        Self::collect(sources.iter().map(|source| (source.origin.clone(), read(&source.file))))
    }

    /// Loads built-in zones, given as pairs of origin and master file.
    pub fn from_texts(zones: &[(&str, &str)]) -> Result<Self, Report> {
        let name = |text: &str| {
            let name = rr::Name::from_ascii(text).ok()?;
            Name::from_labels(name.iter()).ok()
        };
        Self::collect(zones.iter().map(|(origin, text)| {
            let source = Source::new(format!("zone {origin}"), *text);
            match name(origin) {
                Some(origin) => (origin, Ok(source)),
                None => {
                    let fault = Fault::whole("the origin is not a valid name", "correct the origin");
                    (Name::ROOT, Err(Fault::report(vec![fault], source)))
                }
            }
        }))
    }

    fn collect(sources: impl Iterator<Item = (Name, Result<Source, Report>)>) -> Result<Self, Report> {
        let mut zones =
            Self { origins: Vec::new(), lengths: Vec::new(), catalog: Catalog::new(), digest: Sha256::new() };
        let mut files: HashMap<Name, String> = HashMap::new();
        let mut errors = Report::default();
        for (origin, source) in sources {
            let result = source.and_then(|source| {
                let added = match files.get(&origin) {
                    Some(first) => Err(vec![Fault::whole(
                        format!("the zone `{origin}` is already loaded from {first}"),
                        "keep one file for each origin",
                    )]),
                    None => zones.add(&origin, source.text()),
                };
                let file = source.file().to_owned();
                added.map(|()| file).map_err(|faults| Fault::report(faults, source))
            });
            match result {
                Ok(file) => drop(files.insert(origin, file)),
                Err(report) => errors.append(report),
            }
        }
        if errors.is_empty() { Ok(zones) } else { Err(errors) }
    }

    fn add(&mut self, origin: &Name, text: &str) -> Result<(), Vec<Fault>> {
        let name = rr::Name::from_labels(origin.labels())
            .map_err(|error| vec![Fault::whole(error.to_string(), "correct the origin")])?;
        let zone = LocalZone::new(&name, MasterFile::read(text, &name)?)?;
        self.digest.update((text.len() as u64).to_be_bytes());
        self.digest.update(text);
        self.origins.push(origin.clone());
        self.lengths.push(zone.len());
        self.catalog.upsert(name.into(), vec![Arc::new(zone) as Arc<dyn ZoneHandler>]);
        Ok(())
    }

    /// The zones' names in the order given.
    pub fn origins(&self) -> &[Name] {
        &self.origins
    }

    /// SHA-256 of the text of all zones.
    pub fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// Each zone's name and its number of records.
    pub fn sizes(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.origins.iter().zip(self.lengths.iter().copied())
    }

    /// True if there are no zones.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// Answers an already validated query; `client` and `over_tcp` say where it came from. Aliases are followed through
    /// all zones.
    ///
    /// The response is complete (up to 65,535 bytes), whatever size the client accepts. It has the query's id, RD, CD
    /// and question, AA=1, and no OPT: the query's OPT is ignored.
    pub async fn answer(
        &self,
        request: &[u8],
        client: SocketAddr,
        over_tcp: bool,
    ) -> Result<LocalAnswer, LocalFailure> {
        let protocol = if over_tcp { Protocol::Tcp } else { Protocol::Udp };
        let question = bare_question(request).ok_or(LocalFailure::NotHeld)?;
        let lookup = async |question: Vec<u8>| {
            let request = Request::from_bytes(question, client, protocol).ok()?;
            self.catalog.find(request.request_info().ok()?.query.name())?;
            let response = Capture::default();
            self.catalog.handle_request::<_, TokioTime>(&request, response.clone()).await;
            response.into_bytes()
        };
        let mut message = lookup(question.clone()).await.ok_or(LocalFailure::NotHeld)?;
        while let Some((aliases, target)) = alias::open_end(&message) {
            if aliases > MAX_ALIASES {
                return Err(LocalFailure::TooManyAliases);
            }
            let Some(next) = lookup(alias::with_name(&question, &target)).await else {
                return Ok(LocalAnswer { message, leads_to: Some(target) });
            };
            message = alias::join(&message, &next).ok_or(LocalFailure::NotHeld)?;
        }
        Ok(LocalAnswer { message, leads_to: None })
    }

    /// Synchronous [`LocalZones::answer`]: all records are in memory, so there is nothing to wait for.
    pub fn answer_now(&self, request: &[u8]) -> Result<LocalAnswer, LocalFailure> {
        let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
        let answer = std::pin::pin!(self.answer(request, nobody, true));
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => Err(LocalFailure::NotHeld),
        }
    }

    /// The zones for hickory's server.
    pub(super) fn into_catalog(self) -> Catalog {
        self.catalog
    }
}

/// The query reduced to header and question, or `None` if zones do not answer this kind of query.
fn bare_question(request: &[u8]) -> Option<Vec<u8>> {
    let header = Header::parse(request)?;
    let (question, end) = parse_question(request)?;
    let answerable = header.flags.opcode() == 0
        && header.counts[0] == 1
        && question.class == Class::IN
        && question.qtype != Type::OPT
        && !(Type::TKEY.0..Type::ANY.0).contains(&question.qtype.0);
    if !answerable {
        return None;
    }
    let mut bare = Header { counts: [1, 0, 0, 0], ..header }.to_bytes().to_vec();
    bare.extend_from_slice(&request[HEADER..end]);
    Some(bare)
}

/// Reads a file, which must be a regular file of at most [`MAX_FILE_BYTES`] in UTF-8.
fn read(file: &Path) -> Result<Source, Report> {
    let name = file.display().to_string();
    let unreadable = |error: std::io::Error| Diagnostic::unreadable(&name, &error);
    let refused = |message: &str, help: &str| {
        Report::from(Diagnostic::error(&name, message).with_help(help.to_owned()))
    };
    // Opening a pipe would block until another process writes to it.
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(refused("not a regular file", "write the path of a master file"));
    }
    let mut bytes = Vec::new();
    let mut limited = std::fs::File::open(file).map_err(unreadable)?.take(MAX_FILE_BYTES + 1);
    if limited.read_to_end(&mut bytes).map_err(unreadable)? as u64 > MAX_FILE_BYTES {
        let message = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(refused(&message, "check that it is a master file; split a large zone"));
    }
    source_of(&name, bytes)
}
