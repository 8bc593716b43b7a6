//! Tests where a blocked reply sends people: the link to request the name, and structured errors.

use serde_json::{Value, json};

use crate::support::{Edns, Gate, Message, Query, ScriptedUpstream};

/// EDNS option with which a client asks for structured errors.
const STRUCTURED: u16 = 26;

const EDE: u16 = 15;

const LINK: &str = "https://gate-1.corp.example:9153/request";

fn settings() -> String {
    format!(
        "policy.deny = [\"denied.example\"]\npolicy.allow = [\"a.above.example\"]\nrequests.enabled = true\n\
         requests.url = \"{LINK}\"\nrequests.contact = [\"mailto:dns@corp.example\"]"
    )
}

/// INFO-CODE and EXTRA-TEXT of the only Extended DNS Error.
fn error(reply: &Message) -> (u16, String) {
    let options = &reply.edns.as_ref().expect("an OPT record").options;
    let errors: Vec<&Vec<u8>> =
        options.iter().filter(|(code, _)| *code == EDE).map(|(_, data)| data).collect();
    let [error] = errors.as_slice() else { panic!("one error: {options:?}") };
    (u16::from_be_bytes([error[0], error[1]]), String::from_utf8(error[2..].to_vec()).expect("UTF-8"))
}

fn query(name: &str, options: &[(u16, &[u8])], size: u16) -> Query {
    let mut query = Query::new(name, "A");
    let options = options.iter().map(|(code, data)| (*code, data.to_vec())).collect();
    query.edns = Some(Edns { options, ..Edns::of_size(size) });
    query
}

#[test]
fn blocked_reply_says_where_to_request_the_name() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &settings());
    for (name, text) in [
        ("Wanted.Example", "not on the allowlist; request: LINK?name=wanted.example"),
        ("denied.example", "denied by rule denied.example; request: LINK?name=denied.example"),
        (
            "above.example",
            "some subdomains of this name are allowed, but not the name itself; request: LINK?name=above.example",
        ),
        (r"a&b\.c\000.example", r"not on the allowlist; request: LINK?name=a%26b%5C.c%5C000.example"),
    ] {
        let (code, said) = error(&gate.send(&query(name, &[], 1232)));
        assert_eq!((code, said), (15, text.replace("LINK", LINK)), "{name}");
    }
    let (_, said) = error(&gate.send(&query("use-application-dns.net", &[], 1232)));
    assert!(!said.contains("request:"), "it cannot be requested: {said}");
    assert_eq!(upstream.asked(), [""; 0]);
}

#[test]
fn client_that_asks_gets_a_structured_error() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &settings());
    let (code, text) = error(&gate.send(&query("wanted.example", &[(STRUCTURED, b"")], 1232)));
    let expected = format!(
        r#"{{"c":["mailto:dns@corp.example"],"j":"not on the allowlist; request: {LINK}?name=wanted.example","s":6,"l":"en"}}"#
    );
    assert_eq!((code, &text), (15, &expected));
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["s"], 6);
    // An option with data is ignored (section "Structured DNS Error (SDE) EDNS(0) Option Format").
    let (_, text) = error(&gate.send(&query("wanted.example", &[(STRUCTURED, b"x")], 1232)));
    assert_eq!(text, format!("not on the allowlist; request: {LINK}?name=wanted.example"));

    let without = Gate::start(&upstream, "");
    let (_, text) = error(&without.send(&query("wanted.example", &[(10, &[7; 8]), (STRUCTURED, b"")], 1232)));
    assert_eq!(text, r#"{"j":"not on the allowlist","s":6,"l":"en"}"#);
    let (_, text) = error(&without.send(&query("use-application-dns.net", &[(STRUCTURED, b"")], 1232)));
    let said = serde_json::from_str::<Value>(&text).expect("JSON");
    assert!(said["j"].as_str().is_some_and(|said| said.starts_with("denied by built-in rule")), "{text}");
}

#[test]
fn text_that_does_not_fit_is_shortened_never_truncated() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &settings());
    let long = vec!["x".repeat(60); 3].join(".") + ".example";
    for (options, size, wanted) in [
        (&[][..], 1232, format!("not on the allowlist; request: {LINK}?name={long}")),
        (&[][..], 512, format!("not on the allowlist; request: {LINK}?name={long}")),
        (
            &[(STRUCTURED, &b""[..])][..],
            512,
            json!({"c": ["mailto:dns@corp.example"], "j": "not on the allowlist", "s": 6, "l": "en"})
                .to_string(),
        ),
    ] {
        let reply = gate.send(&query(&long, options, size));
        assert!(!reply.has(crate::support::code::TC), "{reply:?}");
        let (code, text) = error(&reply);
        assert_eq!(code, 15);
        let same =
            text == wanted || serde_json::from_str::<Value>(&text).ok() == serde_json::from_str(&wanted).ok();
        assert!(same, "{size}: {text}");
    }
    let longer = vec!["\\255".repeat(60); 4].join(".");
    let (_, text) = error(&gate.send(&query(&longer[..longer.len() - 40], &[], 512)));
    assert_eq!(text, "not on the allowlist");
    let no_edns = gate.send(&Query::new(&long, "A"));
    assert!(no_edns.edns.is_none() && no_edns.rcode() == "NXDOMAIN");
}

#[test]
fn every_structured_error_is_valid_json() {
    let upstream = ScriptedUpstream::start();
    let gate = Gate::start(&upstream, &settings());
    let mut random = 0x2545_f491_u32;
    for size in (512..=1232).step_by(15) {
        let label: String = (0..40)
            .map(|_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                format!("\\{:03}", random >> 24)
            })
            .collect();
        let name = format!("{label}.{label}.denied.example");
        let reply = gate.send(&query(&name, &[(STRUCTURED, b"")], size));
        let (_, text) = error(&reply);
        let value: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(value["s"], 6, "{text}");
    }
}
