//! Compares a reply with its row.

use super::row::{Reply, Row, Transport};
use crate::support::code::{AA, AD, CD, QR, RA, RD, TC, Z};
use crate::support::{Message, Query, Record};

/// TTL of a blocked answer in seconds, the default of `block.ttl`.
const BLOCK_TTL: u32 = 30;
/// INFO-CODE of a blocked answer.
const EDE_BLOCKED: u16 = 15;

/// Fails at the first difference.
pub(crate) fn judge(
    row: &Row,
    query: &Query,
    sent: &[u8],
    reply: &Message,
    transport: Transport,
) -> Result<(), String> {
    let case = Case { row, query, sent, reply };
    case.header()?;
    case.question()?;
    case.sections()?;
    case.extended_error()?;
    case.size(transport)
}

struct Case<'a> {
    row: &'a Row,
    query: &'a Query,
    sent: &'a [u8],
    reply: &'a Message,
}

impl Case<'_> {
    fn header(&self) -> Result<(), String> {
        let rcode = match self.row.reply {
            Reply::Answered | Reply::Nodata | Reply::Local | Reply::Own => "NOERROR",
            Reply::Ancestor | Reply::DeniedAncestor => "NOERROR",
            Reply::Nxdomain | Reply::Blocked | Reply::Denied => "NXDOMAIN",
            Reply::Refused => "REFUSED",
            Reply::Formerr => "FORMERR",
            Reply::Notimp => "NOTIMP",
            Reply::Badvers => "BADVERS",
            Reply::Silence => return self.fail("a reply instead of silence"),
        };
        self.same("response code", self.reply.rcode().as_str(), rcode)?;
        self.same("id", self.reply.id, self.query.id)?;
        let flags = u16::from_be_bytes([self.sent[2], self.sent[3]]);
        self.same("opcode", self.reply.opcode(), (flags >> 11) as u8 & 15)?;
        self.same("QR", self.reply.has(QR), true)?;
        self.same("Z", self.reply.has(Z), false)?;
        self.same("TC", self.reply.has(TC), false)?;
        self.same("AD", self.reply.has(AD), false)?;
        self.same("AA", self.reply.has(AA), self.row.reply == Reply::Local)?;
        self.same("RD", self.reply.has(RD), flags & RD != 0)?;
        self.same("RA", self.reply.has(RA), self.row.reply != Reply::Notimp)?;
        if self.is_about_the_name() {
            self.same("CD", self.reply.has(CD), flags & CD != 0)?;
        }
        Ok(())
    }

    /// True for replies that depend on the question, not on an error in the message.
    fn is_about_the_name(&self) -> bool {
        !matches!(self.row.reply, Reply::Refused | Reply::Formerr | Reply::Notimp | Reply::Badvers)
    }

    fn question(&self) -> Result<(), String> {
        if self.row.reply == Reply::Notimp {
            return self.same("bytes of NOTIMP, a header", self.reply.bytes.len(), 12);
        }
        let echoed = self.sent[12..].starts_with(&self.reply.question_bytes);
        let may_be_left_out = self.row.reply == Reply::Formerr;
        if echoed && (may_be_left_out || self.reply.questions.len() == 1) {
            return Ok(());
        }
        self.fail("the question is not the client's, byte for byte")
    }

    fn sections(&self) -> Result<(), String> {
        let (answers, authorities) = (self.reply.answer_texts(), &self.reply.authorities);
        match self.row.reply {
            Reply::Answered | Reply::Local | Reply::Own if answers.is_empty() => self.fail("no answers"),
            Reply::Answered | Reply::Local | Reply::Own | Reply::Nxdomain => {
                match self.row.expected_answers() {
                    Some(wanted) => self.same("answers", &answers, wanted),
                    None => Ok(()),
                }
            }
            Reply::Nodata => self.same("number of answers", answers.len(), 0),
            Reply::Blocked | Reply::Denied | Reply::Ancestor | Reply::DeniedAncestor => {
                self.same("number of answers", answers.len(), 0)?;
                self.same("additional records", self.reply.additionals.len(), 0)?;
                match authorities.as_slice() {
                    [soa] => self.blocked_soa(soa),
                    _ => self.fail("the authority section is not one SOA record"),
                }
            }
            _ => {
                let records = answers.len() + authorities.len() + self.reply.additionals.len();
                self.same("records of an error", records, 0)
            }
        }
    }

    fn blocked_soa(&self, soa: &Record) -> Result<(), String> {
        let text = soa.text();
        let name = self.reply.name();
        let begins = format!("{name} {BLOCK_TTL} SOA namegate.invalid hostmaster.invalid ");
        self.same("SOA record", text.starts_with(&begins), true)
            .map_err(|failure| format!("{failure}: {text}"))?;
        self.same("negative TTL", soa.ttl.min(soa.soa_minimum()), BLOCK_TTL)
    }

    fn extended_error(&self) -> Result<(), String> {
        let blocked = matches!(
            self.row.reply,
            Reply::Blocked | Reply::Denied | Reply::Ancestor | Reply::DeniedAncestor
        );
        let wanted = self.row.ede.or_else(|| blocked.then_some(EDE_BLOCKED));
        if self.query.edns.is_none() && !self.row.opt_in_tail {
            return self.same("OPT without being asked", self.reply.edns.is_some(), false);
        }
        if !matches!(self.row.reply, Reply::Formerr | Reply::Notimp) {
            self.same("OPT", self.reply.edns.is_some(), true)?;
        }
        let Some(wanted) = wanted else {
            return Ok(());
        };
        self.same("EDE", self.reply.ede_codes(), vec![wanted])?;
        let text = match self.row.reply {
            Reply::Blocked => "not on the allowlist",
            Reply::Denied => "denied by rule ",
            Reply::Ancestor => "some subdomains of this name are allowed, but not the name itself",
            Reply::DeniedAncestor => "; some subdomains of this name are allowed, but not the name itself",
            _ => "",
        };
        let text = self.row.ede_text.as_deref().unwrap_or(text);
        let errors = self.reply.extended_errors();
        if errors.iter().any(|(_, have)| have.contains(text)) {
            return Ok(());
        }
        self.fail(&format!("no EDE text holds `{text}`: {errors:?}"))
    }

    /// RFC 6891 section 6.2.3: never larger than the client accepts.
    fn size(&self, transport: Transport) -> Result<(), String> {
        let takes = self.query.edns.as_ref().map_or(512, |edns| edns.size.clamp(512, 1232));
        let length = self.reply.bytes.len();
        if transport == Transport::Udp && length > usize::from(takes) {
            return self.fail(&format!("{length} bytes over UDP to a client that takes {takes}"));
        }
        Ok(())
    }

    #[allow(clippy::needless_pass_by_value, reason = "comparisons read better without references")]
    fn same<T: PartialEq<U> + std::fmt::Debug, U: std::fmt::Debug>(
        &self,
        what: &str,
        got: T,
        want: U,
    ) -> Result<(), String> {
        if got == want {
            return Ok(());
        }
        self.fail(&format!("{what}: {got:?} instead of {want:?}"))
    }

    fn fail(&self, what: &str) -> Result<(), String> {
        Err(format!("{what}\nin the reply {:#?}", self.reply))
    }
}
