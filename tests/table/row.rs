//! [`Row`]: one row of a table, as written.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::support::code::{flag, hex};
use crate::support::name::expand;
use crate::support::query::question;
use crate::support::{Edns, Query, Record, Response, Script};

/// A query and its required result.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// A sentence in kebab case, unique in its table.
    pub(crate) name: String,
    /// The rule set; `default` if omitted.
    #[serde(default = "default_set")]
    pub(crate) set: String,
    /// The transports; both if omitted.
    #[serde(default = "both_transports")]
    pub(crate) over: Vec<Transport>,
    /// The client's address.
    #[serde(default = "loopback")]
    pub(crate) from: Ipv4Addr,
    /// Questions (`NAME TYPE`) that are queried and answered before.
    #[serde(default)]
    pub(crate) after: Vec<String>,
    /// Questions, each `NAME TYPE` or `NAME TYPE CLASS`.
    #[serde(default)]
    ask: Questions,
    /// Questions as hexadecimal bytes, or the whole message after its id if `ask` is omitted.
    hex: Option<String>,
    /// Header flags; only RD if omitted.
    flags: Option<Vec<String>>,
    #[serde(default)]
    opcode: u8,
    /// Counts to claim instead of the true ones.
    counts: Option<[u16; 4]>,
    /// The OPT record; if omitted, 1232 bytes without options.
    #[serde(default)]
    edns: EdnsColumn,
    /// Hexadecimal bytes after everything else.
    #[serde(default)]
    tail: String,
    /// `tail` contains a valid OPT record, so the reply has one.
    #[serde(default)]
    pub(crate) opt_in_tail: bool,
    /// The upstream's answer; the usual answer if omitted.
    script: Option<ScriptColumn>,
    /// What the client gets.
    pub(crate) reply: Reply,
    /// Answers of the reply; those of `script` if omitted.
    pub(crate) answers: Option<Vec<String>>,
    /// INFO-CODE of the reply's Extended DNS Error, if the query carries OPT.
    pub(crate) ede: Option<u16>,
    /// Text that the error's EXTRA-TEXT contains.
    pub(crate) ede_text: Option<String>,
    /// Queries that the upstream receives, each `NAME TYPE`; none if omitted.
    #[serde(default)]
    pub(crate) upstream: Vec<String>,
}

/// What the client gets.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// NOERROR and records from the upstream.
    Answered,
    /// NOERROR without records, from the upstream.
    Nodata,
    /// NXDOMAIN from the upstream.
    Nxdomain,
    /// AA=1 from a local zone.
    Local,
    /// NXDOMAIN because no rule allows the name.
    Blocked,
    /// NXDOMAIN because a rule denies the name.
    Denied,
    /// NOERROR without records, because rules allow only names below it.
    Ancestor,
    /// The same, but a rule denies the name.
    DeniedAncestor,
    /// REFUSED.
    Refused,
    /// FORMERR.
    Formerr,
    /// NOTIMP.
    Notimp,
    /// BADVERS.
    Badvers,
    /// NOERROR with namegate's own data: HINFO for ANY, its identity.
    Own,
    /// No reply at all.
    Silence,
}

/// A transport that clients use.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum Questions {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum EdnsColumn {
    Present(bool),
    As(EdnsFields),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EdnsFields {
    #[serde(default = "usual_size")]
    size: u16,
    #[serde(default)]
    version: u8,
    #[serde(default, rename = "do")]
    dnssec_ok: bool,
    /// Code and hexadecimal data.
    #[serde(default)]
    options: Vec<(u16, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ScriptColumn {
    #[serde(default = "noerror")]
    rcode: String,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(default)]
    authority: Vec<String>,
    #[serde(default)]
    additional: Vec<String>,
}

impl Row {
    /// The query as built; [`Row::bytes`] is what the client sends.
    pub(crate) fn query(&self) -> Query {
        let mut query = Query::new(".", "A");
        query.questions = match &self.ask {
            Questions::None => Vec::new(),
            Questions::One(text) => vec![read_question(text)],
            Questions::Several(texts) => texts.iter().map(|text| read_question(text)).collect(),
        };
        query.flags =
            self.flags.as_ref().map_or(query.flags, |flags| flags.iter().map(|text| flag(text)).sum());
        query.opcode = self.opcode;
        query.counts = self.counts;
        query.edns = self.edns.build();
        query.tail = hex(&expand(&self.tail));
        if let Some(bytes) = &self.hex {
            query.questions.push(hex(&expand(bytes)));
        }
        query
    }

    /// The bytes the client sends: without `ask` and `counts`, `hex` is all that follows the id.
    pub(crate) fn bytes(&self, query: &Query) -> Vec<u8> {
        match (&self.ask, &self.hex, self.counts) {
            (Questions::None, Some(rest), None) => {
                [query.id.to_be_bytes().to_vec(), hex(&expand(rest))].concat()
            }
            _ => query.bytes(),
        }
    }

    /// The name and the upstream's script for it.
    pub(crate) fn script(&self) -> Option<(String, Script)> {
        let script = self.script.as_ref()?;
        let asked = self.after.first().or(match &self.ask {
            Questions::One(text) => Some(text),
            _ => None,
        })?;
        let name = expand(asked.split(' ').next()?).to_ascii_lowercase();
        Some((name, Script::reply(script.response())))
    }

    /// Answers that the reply must contain, if the table lists them.
    pub(crate) fn expected_answers(&self) -> Option<&Vec<String>> {
        self.answers.as_ref().or_else(|| Some(&self.script.as_ref()?.answers))
    }
}

impl ScriptColumn {
    fn response(&self) -> Response {
        let records = |texts: &[String]| texts.iter().map(|text| Record::from_text(text)).collect();
        Response {
            answers: records(&self.answers),
            authorities: records(&self.authority),
            additionals: records(&self.additional),
            ..Response::failing(&self.rcode)
        }
    }
}

impl Default for EdnsColumn {
    fn default() -> Self {
        Self::Present(true)
    }
}

impl EdnsColumn {
    fn build(&self) -> Option<Edns> {
        let fields = match self {
            Self::Present(present) => return present.then(|| Edns::of_size(usual_size())),
            Self::As(fields) => fields,
        };
        let options = fields.options.iter().map(|(code, data)| (*code, hex(&expand(data)))).collect();
        Some(Edns {
            version: fields.version,
            dnssec_ok: fields.dnssec_ok,
            options,
            ..Edns::of_size(fields.size)
        })
    }
}

/// Reads `NAME TYPE [CLASS]`.
pub(crate) fn read_question(text: &str) -> Vec<u8> {
    let text = expand(text);
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        [name, qtype] => question(name, qtype, "IN"),
        [name, qtype, class] => question(name, qtype, class),
        _ => panic!("`{text}` is not NAME TYPE [CLASS]"),
    }
}

fn default_set() -> String {
    "default".to_owned()
}

fn both_transports() -> Vec<Transport> {
    vec![Transport::Udp, Transport::Tcp]
}

fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

fn usual_size() -> u16 {
    1232
}

fn noerror() -> String {
    "NOERROR".to_owned()
}
