//! [`Message`]: a decoded DNS message for assertions.

use super::code::{self, rcode_text, type_text};
use super::name::to_wire;
use super::query::Edns;
use super::reader::{Malformed, Reader};
use super::record::Record;

/// Option code of Extended DNS Errors (RFC 8914).
const EDE: u16 = 15;

/// A decoded question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Question {
    /// QNAME as text, case kept.
    pub(crate) name: String,
    /// QTYPE.
    pub(crate) qtype: u16,
    /// QCLASS.
    pub(crate) class: u16,
}

/// A decoded message; the OPT record is separate from the additional section.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// As received.
    pub(crate) bytes: Vec<u8>,
    /// Message id.
    pub(crate) id: u16,
    /// Flag word, opcode and lower response code included.
    pub(crate) flags: u16,
    /// Questions.
    pub(crate) questions: Vec<Question>,
    /// The questions' bytes.
    pub(crate) question_bytes: Vec<u8>,
    /// Answer section.
    pub(crate) answers: Vec<Record>,
    /// Authority section.
    pub(crate) authorities: Vec<Record>,
    /// Additional section without OPT.
    pub(crate) additionals: Vec<Record>,
    /// OPT record.
    pub(crate) edns: Option<Edns>,
}

impl Message {
    /// Decodes a whole message; trailing bytes are an error.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let (id, flags) = (reader.word()?, reader.word()?);
        let counts = [reader.word()?, reader.word()?, reader.word()?, reader.word()?];
        let start = reader.position();
        let questions = repeat(counts[0], || {
            Ok(Question { name: reader.name()?, qtype: reader.word()?, class: reader.word()? })
        })?;
        let question_bytes = bytes[start..reader.position()].to_vec();
        let answers = repeat(counts[1], || record(&mut reader))?;
        let authorities = repeat(counts[2], || record(&mut reader))?;
        let all_additionals = repeat(counts[3], || record(&mut reader))?;
        if !reader.is_at_end() {
            return Err(format!("bytes after the message at offset {}", reader.position()));
        }
        let (opts, additionals): (Vec<Record>, _) =
            all_additionals.into_iter().partition(|record| record.rtype == code::OPT);
        let edns = match opts.as_slice() {
            [] => None,
            [opt] => Some(edns(opt)?),
            _ => return Err("more than one OPT record".to_owned()),
        };
        let bytes = bytes.to_vec();
        Ok(Self { bytes, id, flags, questions, question_bytes, answers, authorities, additionals, edns })
    }

    /// Decodes a reply that must be well-formed, for hickory too.
    pub(crate) fn expect(bytes: &[u8]) -> Self {
        let message = Self::parse(bytes).unwrap_or_else(|malformed| panic!("{malformed} in {bytes:02x?}"));
        if let Err(malformed) = hickory_proto::op::Message::from_vec(bytes) {
            panic!("hickory cannot read the message: {malformed}: {bytes:02x?}");
        }
        message
    }

    /// True if all these header flags are set.
    pub(crate) fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Opcode.
    pub(crate) fn opcode(&self) -> u8 {
        (self.flags >> 11) as u8 & 15
    }

    /// Response code with EDNS's upper bits, as text.
    pub(crate) fn rcode(&self) -> String {
        let upper = self.edns.as_ref().map_or(0, |edns| u16::from(edns.extended_rcode));
        rcode_text(upper << 4 | self.flags & 15)
    }

    /// Extended DNS Errors: INFO-CODE and EXTRA-TEXT.
    pub(crate) fn extended_errors(&self) -> Vec<(u16, String)> {
        let options = self.edns.iter().flat_map(|edns| &edns.options).filter(|(code, _)| *code == EDE);
        options
            .map(|(_, data)| {
                let (code, text) =
                    data.split_first_chunk::<2>().expect("an EDE option begins with INFO-CODE");
                (u16::from_be_bytes(*code), String::from_utf8(text.to_vec()).expect("EXTRA-TEXT is UTF-8"))
            })
            .collect()
    }

    /// Only the INFO-CODEs.
    pub(crate) fn ede_codes(&self) -> Vec<u16> {
        self.extended_errors().into_iter().map(|(code, _)| code).collect()
    }

    /// Answers as text.
    pub(crate) fn answer_texts(&self) -> Vec<String> {
        texts(&self.answers)
    }

    /// Only the data of the answers.
    pub(crate) fn answer_data(&self) -> Vec<String> {
        self.answers.iter().map(Record::data_text).collect()
    }

    /// The single question's name, case kept.
    pub(crate) fn name(&self) -> &str {
        &self.questions[0].name
    }

    /// The single question as `NAME TYPE`.
    pub(crate) fn asked(&self) -> String {
        format!("{} {}", self.questions[0].name, type_text(self.questions[0].qtype))
    }
}

/// Records as text.
pub(crate) fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(Record::text).collect()
}

fn repeat<T>(count: u16, mut read: impl FnMut() -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
    (0..count).map(|_| read()).collect()
}

fn record(reader: &mut Reader<'_>) -> Result<Record, Malformed> {
    let owner = reader.name()?;
    let (rtype, class, ttl) = (reader.word()?, reader.word()?, reader.double()?);
    let length = usize::from(reader.word()?);
    let end = reader.position() + length;
    let data = match type_text(rtype).as_str() {
        "CNAME" | "NS" | "PTR" | "DNAME" => to_wire(&reader.name()?),
        "MX" => [reader.bytes(2)?.to_vec(), to_wire(&reader.name()?)].concat(),
        "SOA" => [to_wire(&reader.name()?), to_wire(&reader.name()?), reader.bytes(20)?.to_vec()].concat(),
        _ => reader.bytes(length)?.to_vec(),
    };
    if reader.position() != end {
        return Err(format!("RDLENGTH of {owner} does not fit its data"));
    }
    Ok(Record { owner, rtype, class, ttl, data })
}

fn edns(opt: &Record) -> Result<Edns, Malformed> {
    if opt.owner != "." {
        return Err(format!("the OPT record belongs to {}", opt.owner));
    }
    let mut reader = Reader::new(&opt.data);
    let mut options = Vec::new();
    while !reader.is_at_end() {
        let (code, length) = (reader.word()?, reader.word()?);
        options.push((code, reader.bytes(usize::from(length))?.to_vec()));
    }
    let [extended_rcode, version, flags, _] = opt.ttl.to_be_bytes();
    Ok(Edns { size: opt.class, extended_rcode, version, dnssec_ok: flags & 0x80 != 0, options })
}
