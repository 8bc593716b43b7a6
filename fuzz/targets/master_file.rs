//! Fuzzes master files of local zones: every error has a line of the file, and an accepted zone answers with authority.

use hickory_proto::op::Message;
use namegate::diagnostics::Severity;
use namegate::local::{LocalFailure, LocalZones};
use namegate::wire::code::Class;
use namegate::wire::request::{self, AnswerFlags};

use super::zone_file::lines;
use super::{HEADER, Name, Question, Type};

const ORIGIN: &str = "corp.example";

/// Names in the seeds, one that wildcards create, and one that does not exist.
const NAMES: [&str; 5] =
    ["corp.example", "www.corp.example", "a.corp.example", "x.y.corp.example", "ns.corp.example"];

/// `data` is the file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let zones = match LocalZones::from_texts(&[(ORIGIN, text)]) {
        Ok(zones) => zones,
        Err(report) => {
            assert!(!report.is_empty());
            for fault in report.diagnostics() {
                let line = report.place(fault).map(|(line, _)| line);
                assert!(line.is_none_or(|line| (1..=lines(data)).contains(&line)), "{fault:?}");
            }
            for line in report.log_lines(Severity::Error) {
                assert!(!line.contains(char::is_control), "{line:?}");
            }
            return;
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut message = Vec::new();
    for name in NAMES {
        for qtype in [Type::SOA, Type::A, Type::TXT, Type::CNAME, Type::ANY, Type::HTTPS] {
            let name = Name::from_labels(name.split('.').map(str::as_bytes)).unwrap();
            let question = Question { name, qtype, class: Class::IN };
            request::write(&mut message, 7, &question, AnswerFlags::default());
            let reply = match runtime.block_on(zones.answer(&message, ([10, 0, 0, 7], 53).into(), true)) {
                Ok(answer) => answer.message,
                Err(error) => {
                    assert_eq!(error, LocalFailure::TooManyAliases);
                    continue;
                }
            };
            let read = Message::from_vec(&reply).unwrap_or_else(|error| panic!("{error}: {reply:02x?}"));
            assert!(read.metadata.authoritative && read.metadata.id == 7, "{read:?}");
            assert!(reply[HEADER..].starts_with(question.name.as_bytes()));
        }
    }
}
