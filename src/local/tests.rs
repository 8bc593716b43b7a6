#![allow(clippy::unwrap_used)]
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use hickory_proto::op::{Edns, Message, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use proptest::prelude::*;

use super::*;
use crate::diagnostics::Severity;

const ORIGIN: &str = "privatelink.api.azureml.ms";
const CLIENT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40000);

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/local").join(file)
}

fn source(origin: &str, file: &Path) -> LocalSource {
    let origin = crate::wire::name::Name::from_labels(origin.split('.').map(str::as_bytes)).unwrap();
    LocalSource { origin, file: file.to_owned() }
}

fn query(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::query();
    message.metadata.id = 0xbeef;
    message.metadata.recursion_desired = true;
    message.metadata.checking_disabled = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

async fn ask(zones: &LocalZones, message: &Message) -> Option<Message> {
    let answer = zones.answer(&message.to_vec().unwrap(), CLIENT, false).await.ok()?;
    Some(Message::from_vec(&answer.message).unwrap())
}

/// The answer to a name below [`ORIGIN`] in the test zone: code, answer section, authority section.
async fn answer(name: &str, record_type: RecordType) -> (ResponseCode, Vec<String>, Vec<String>) {
    let zones = LocalZones::load(&[source(ORIGIN, &data("privatelink.zone"))]).unwrap();
    let dot = if name.is_empty() { "" } else { "." };
    let response = ask(&zones, &query(&format!("{name}{dot}{ORIGIN}."), record_type)).await.unwrap();
    let Metadata { id, recursion_desired, recursion_available, checking_disabled, .. } = response.metadata;
    assert!(
        response.metadata.authoritative && recursion_desired && checking_disabled && !recursion_available
    );
    assert_eq!((id, response.queries.len(), response.edns.is_some()), (0xbeef, 1, false));
    let short = |records: &[hickory_proto::rr::Record]| {
        records.iter().map(|record| record.to_string().replace(&format!(".{ORIGIN}."), "")).collect()
    };
    (response.metadata.response_code, short(&response.answers), short(&response.authorities))
}

const NEGATIVE_SOA: &str =
    "privatelink.api.azureml.ms. 300 IN SOA ns hostmaster 2026031901 3600 600 604800 300";

#[tokio::test]
async fn answers_with_authority() {
    let (code, answers, authority) = answer("6f1d.workspace.eastus", RecordType::A).await;
    assert_eq!((code, authority.len()), (ResponseCode::NoError, 0));
    assert_eq!(answers, ["6f1d.workspace.eastus 10 IN A 10.1.0.5"]);
    let (_, answers, authority) = answer("", RecordType::SOA).await;
    assert!(answers[0].contains(" 3600 IN SOA ") && authority[0].contains(" NS ns"), "{answers:?}");
    let (_, answers, _) = answer("", RecordType::NS).await;
    assert_eq!(answers, ["privatelink.api.azureml.ms. 10 IN NS ns"]);
    let (_, answers, _) = answer("", RecordType::ANY).await;
    assert_eq!(answers.len(), 1);
    let (_, answers, _) = answer("text", RecordType::TXT).await;
    assert!(answers[0].ends_with("first; with (marks)second \"quoted\""), "{answers:?}");
}

#[tokio::test]
async fn negative_answers_carry_the_soa() {
    for name in ["nothing", "x.6f1d.workspace.eastus", "nothing.below.fixed.6f1d.inference.eastus"] {
        let expected = (ResponseCode::NXDomain, vec![], vec![NEGATIVE_SOA.to_owned()]);
        assert_eq!(answer(name, RecordType::A).await, expected, "{name}");
    }
    // A type that the name does not have, a name that only has names below it, and an unknown type.
    for name in ["6f1d.workspace.eastus", "eastus", "below.fixed.6f1d.inference.eastus"] {
        for record_type in [RecordType::AAAA, RecordType::Unknown(65280)] {
            let expected = (ResponseCode::NoError, vec![], vec![NEGATIVE_SOA.to_owned()]);
            assert_eq!(answer(name, record_type).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn wildcards_follow_rfc_4592() {
    let (_, answers, _) = answer("score.6f1d.inference.eastus", RecordType::A).await;
    assert_eq!(answers, ["score.6f1d.inference.eastus 10 IN A 10.1.0.7"]);
    let (_, answers, _) = answer("a.b.6f1d.inference.eastus", RecordType::A).await;
    assert_eq!(answers, ["a.b.6f1d.inference.eastus 10 IN A 10.1.0.7"]);
    // The wildcard's name exists for every type, so this is NODATA. NXDOMAIN would deny its A record as well.
    let nodata = (ResponseCode::NoError, vec![], vec![NEGATIVE_SOA.to_owned()]);
    assert_eq!(answer("score.6f1d.inference.eastus", RecordType::AAAA).await, nodata);
    assert_eq!(answer("fixed.6f1d.inference.eastus", RecordType::A).await, nodata);
    assert_eq!(answer("real.apps", RecordType::AAAA).await, nodata);
    assert_eq!(answer("below.real.apps", RecordType::A).await.0, ResponseCode::NXDomain);
    let (_, answers, _) = answer("x.apps", RecordType::A).await;
    assert_eq!(
        answers,
        ["x.apps 10 IN CNAME 6f1d.workspace.eastus", "6f1d.workspace.eastus 10 IN A 10.1.0.5"]
    );
}

#[tokio::test]
async fn aliases_are_followed_within_the_zone() {
    let (_, answers, _) = answer("alias", RecordType::A).await;
    let chain = ["alias 10 IN CNAME second", "second 10 IN CNAME 6f1d.workspace.eastus"];
    assert_eq!(answers[..2], chain);
    assert_eq!(answers[2], "6f1d.workspace.eastus 10 IN A 10.1.0.5");
    // RFC 2308 section 2.2: the alias exists, and its target has no such data.
    let nodata = (ResponseCode::NoError, chain.map(str::to_owned).to_vec(), vec![NEGATIVE_SOA.to_owned()]);
    assert_eq!(answer("alias", RecordType::AAAA).await, nodata);
    assert_eq!(answer("alias", RecordType::CNAME).await.1, chain[..1]);
    let outside = answer("outside", RecordType::A).await;
    assert_eq!(outside.1, ["outside 10 IN CNAME blob.store.core.windows.net."]);
    // RFC 6604 section 3, RFC 2308 section 2.1: the code and the SOA are those of the missing name.
    let dangling = vec!["dangling 10 IN CNAME nowhere".to_owned()];
    let missing = (ResponseCode::NXDomain, dangling, vec![NEGATIVE_SOA.to_owned()]);
    assert_eq!(answer("dangling", RecordType::A).await, missing);
}

/// Two zones: alias chains of several lengths, loops, and aliases between the zones and out of both.
fn two_zones() -> LocalZones {
    let chain: String = (1..20).map(|i| format!("c{i} CNAME c{}\n", i - 1)).collect();
    let one = format!(
        "$TTL 60\n@ SOA ns host 1 2 3 4 5\nc0 A 10.0.0.1\n{chain}self CNAME self\nround CNAME round.two.example.\n\
         over CNAME there.two.example.\nlacking CNAME nothing.two.example.\nout CNAME out.two.example.\n"
    );
    let two = "$TTL 60\n@ SOA ns host 2 2 3 4 5\nthere A 10.0.0.2\nround CNAME round.one.example.\n\
               out CNAME far.example.\n";
    LocalZones::from_texts(&[("one.example", &one), ("two.example", two)]).unwrap()
}

#[tokio::test]
async fn sixteen_aliases_are_followed_and_no_circle() {
    let zones = two_zones();
    for (name, aliases) in
        [("c9", Some(9)), ("c16", Some(16)), ("c17", None), ("self", None), ("round", None)]
    {
        let query = query(&format!("{name}.one.example."), RecordType::A).to_vec().unwrap();
        match (zones.answer(&query, CLIENT, false).await, aliases) {
            (Ok(answer), Some(aliases)) => {
                let message = Message::from_vec(&answer.message).unwrap();
                assert_eq!((message.answers.len(), answer.leads_to), (aliases + 1, None), "{name}");
                assert_eq!(message.answers[aliases].data.to_string(), "10.0.0.1", "{name}");
            }
            (Err(error), None) => assert_eq!(error, LocalFailure::TooManyAliases, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn aliases_are_followed_into_another_zone() {
    let zones = two_zones();
    let ask = async |name: &str| {
        let query = query(&format!("{name}.one.example."), RecordType::A).to_vec().unwrap();
        let answer = zones.answer(&query, CLIENT, false).await.unwrap();
        let message = Message::from_vec(&answer.message).unwrap();
        assert!(message.metadata.authoritative && message.queries[0].name().to_string().starts_with(name));
        let text = |records: &[hickory_proto::rr::Record]| -> Vec<String> {
            records.iter().map(ToString::to_string).collect()
        };
        let leads_to = answer.leads_to.map(|name| name.to_string());
        (message.metadata.response_code, text(&message.answers), text(&message.authorities), leads_to)
    };
    let over = ["over.one.example. 60 IN CNAME there.two.example.", "there.two.example. 60 IN A 10.0.0.2"];
    assert_eq!(ask("over").await, (ResponseCode::NoError, over.map(str::to_owned).to_vec(), vec![], None));
    let (code, answers, authorities, _) = ask("lacking").await;
    assert_eq!((code, answers.len()), (ResponseCode::NXDomain, 1));
    assert!(authorities[0].starts_with("two.example. 5 IN SOA "), "{authorities:?}");
    let out = ["out.one.example. 60 IN CNAME out.two.example.", "out.two.example. 60 IN CNAME far.example."];
    let wanted =
        (ResponseCode::NoError, out.map(str::to_owned).to_vec(), vec![], Some("far.example".to_owned()));
    assert_eq!(ask("out").await, wanted);
}

#[tokio::test]
async fn the_question_comes_back_as_asked() {
    let zones = LocalZones::load(&[source(ORIGIN, &data("privatelink.zone"))]).unwrap();
    let mut message = query("6F1d.WorkSpace.EastUS.privateLINK.api.azureml.MS.", RecordType::A);
    message.edns = Some(Edns::new());
    let request = message.to_vec().unwrap();
    let response = zones.answer(&request, CLIENT, true).await.unwrap().message;
    let end = crate::wire::query::parse_question(&request).unwrap().1;
    assert_eq!(request[12..end], response[12..end]);
    let response = Message::from_vec(&response).unwrap();
    assert_eq!((response.answers.len(), response.edns.is_some()), (1, false));
}

#[tokio::test]
async fn large_answers_are_whole() {
    let records: String = (0..255).map(|i| format!("many A 10.0.0.{i}\n")).collect();
    let texts: String = (0..4).map(|i| format!("text TXT \"{i}{0}\" \"{0}\"\n", "y".repeat(254))).collect();
    let zone = format!("$TTL 60\n@ SOA ns host 1 2 3 4 5\n{records}{texts}");
    let zones = LocalZones::from_texts(&[("corp.example", &zone)]).unwrap();
    let response =
        zones.answer(&query("many.corp.example.", RecordType::A).to_vec().unwrap(), CLIENT, false).await;
    let response = response.unwrap().message;
    let message = Message::from_vec(&response).unwrap();
    assert!(response.len() > 4000 && message.answers.len() == 255 && !message.metadata.truncation);
    let message = ask(&zones, &query("text.corp.example.", RecordType::TXT)).await.unwrap();
    assert_eq!(message.answers.len(), 4);
}

#[tokio::test]
async fn what_is_no_question_for_a_zone_is_left_alone() {
    let zones = LocalZones::load(&[source(ORIGIN, &data("privatelink.zone"))]).unwrap();
    assert!(ask(&zones, &query("api.azureml.ms.", RecordType::A)).await.is_none());
    assert!(ask(&zones, &query("xprivatelink.api.azureml.ms.", RecordType::A)).await.is_none());
    for refused in
        [RecordType::AXFR, RecordType::IXFR, RecordType::OPT, RecordType::TSIG, RecordType::Unknown(254)]
    {
        assert!(ask(&zones, &query(&format!("{ORIGIN}."), refused)).await.is_none(), "{refused}");
    }
    let mut chaos = query(&format!("{ORIGIN}."), RecordType::TXT);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert!(ask(&zones, &chaos).await.is_none());
    let mut update = query(&format!("{ORIGIN}."), RecordType::SOA);
    update.metadata.op_code = OpCode::Update;
    assert!(ask(&zones, &update).await.is_none());
    assert_eq!(zones.answer(b"", CLIENT, false).await.unwrap_err(), LocalFailure::NotHeld);
}

#[test]
fn sizes_and_origins() {
    let zones = LocalZones::load(&[source(ORIGIN, &data("privatelink.zone"))]).unwrap();
    assert_eq!(
        zones.sizes().map(|(name, size)| (name.to_string(), size)).collect::<Vec<_>>(),
        [(ORIGIN.to_owned(), 16)]
    );
    assert!(zones.origins()[0].to_string() == ORIGIN && !zones.is_empty());
    assert!(LocalZones::load(&[]).unwrap().is_empty());
}

fn errors(sources: &[LocalSource]) -> Vec<String> {
    let root = format!("{}/", data("").parent().unwrap().display());
    let lines = LocalZones::load(sources).err().unwrap().log_lines(Severity::Error);
    lines.iter().map(|line| line.replace(&root, "").replace("local/", "")).collect()
}

#[test]
fn all_faults_of_all_files_are_reported() {
    let found = errors(&[
        source("a.example", &data("broken.zone")),
        source("b.example", &data("missing.zone")),
        source("c.example", &data("")),
        source(ORIGIN, &data("privatelink.zone")),
        source(&ORIGIN.to_uppercase(), &data("privatelink.zone")),
    ]);
    let starts = [
        "broken.zone:3:1: invalid record: network address parse error",
        "broken.zone:4:1: $INCLUDE is not supported",
        "broken.zone:5:1: the quoted text does not end on its line",
        "broken.zone:6:1: A has 2 data fields instead of 1",
        "missing.zone: file not found",
        ": not a regular file",
        "privatelink.zone: the zone `privatelink.api.azureml.ms` is already loaded from ",
    ];
    assert_eq!(found.len(), starts.len(), "{found:#?}");
    for (error, start) in found.iter().zip(starts) {
        assert!(error.starts_with(start) && error.contains("; help: "), "{error}\n{start}");
    }
}

#[test]
fn files_that_are_no_master_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        LocalZones::load(&[source("a.example", &path)]).err().unwrap().log_lines(Severity::Error).join("\n")
    };
    let error = file("latin1", b"; one\n; \xe9t\xe9\n");
    assert!(error.contains("latin1:2:3: the file is not UTF-8 from here on"), "{error}");
    let error = file("large", &vec![b'\n'; MAX_FILE_BYTES as usize + 1]);
    assert!(error.contains("larger than 4194304"), "{error}");
    assert!(file("empty", b"").contains("empty: the zone has no SOA record"));
}

#[test]
fn records_that_do_not_fit_together() {
    let fault = |lines: &str| {
        let text = format!("$TTL 60\n@ SOA ns host 1 2 3 4 5\n{lines}\n");
        let mut lines =
            LocalZones::from_texts(&[("corp.example", &text)]).err().unwrap().log_lines(Severity::Error);
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    };
    assert!(
        fault("www.example.org. A 10.0.0.1")
            .starts_with("zone corp.example:3:1: `www.example.org.` is outside")
    );
    assert!(fault("sub SOA ns host 1 2 3 4 5").contains(":3:1: the SOA record is at `sub.corp.example.`"));
    assert!(fault("@ SOA ns host 2 2 3 4 5").contains(":3:1: the zone has a second SOA"));
    assert!(
        fault("a A 10.0.0.1\na CNAME b").contains(":4:1: `a.corp.example.` has a CNAME record and another")
    );
    assert!(fault("a CNAME b\na CNAME c").contains(":4:1: `a.corp.example.` has a CNAME"));
    assert!(fault("a CNAME b\na A 10.0.0.1").contains(":4:1: "));
    assert!(fault("sub NS ns.elsewhere.example.").contains(":3:1: `sub.corp.example.` is delegated"));
    let twice = "$TTL 60\n@ SOA ns host 1 2 3 4 5\na A 10.0.0.1\nA A 10.0.0.1\n";
    assert_eq!(LocalZones::from_texts(&[("corp.example.", twice)]).unwrap().sizes().next().unwrap().1, 2);
    assert!(LocalZones::from_texts(&[("a..b", twice)]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_is_too_strange(words in prop::collection::vec(prop::sample::select(vec![
        "@", " ", "\n", "\t", "a", "*", "\"", "\\", "(", ")", ";", "$TTL", "$ORIGIN", "60", "IN", "SOA", "A", "TXT",
        "HTTPS", "1", ".", "alpn=", "mandatory=", "key0=", "ipv4hint=", ",", "CERT", "CSYNC", "SMIMEA", "NAPTR", "é",
        "\r", "\u{0}", "TLSA", "OPENPGPKEY", "10.0.0.1", "-", "CAA", "ech=", "\\1", "\"x\"", "NULL", "OPT", "ANY",
    ]), 0..40)) {
        let _ = LocalZones::from_texts(&[("corp.example", &words.concat())]);
        let _ = LocalZones::from_texts(&[("corp.example", &format!("$TTL 1\na {}", words.join(" ")))]);
    }
}
