//! Tests invalid input of `namegate import`: refused with the location and a fix, and nothing is printed.

use std::path::Path;

use crate::support::command::namegate;
use crate::tools::import::import_text;

#[test]
fn what_is_wrong_is_refused_with_its_place_and_a_remedy() {
    let dependencies = |endpoint: &str| {
        format!("{{\"value\":[{{\"properties\":{{\"category\":\"c\",\"endpoints\":[{endpoint}]}}}}]}}")
    };
    let set = |fields: &str| format!("[{{\"fqdn\":\"a.z.example.\",\"name\":\"a\",\"ttl\":1,{fields}}}]");
    let at = "value[0].properties.endpoints[0].domainName";
    for (format, text, texts) in [
        ("azure-ml", "{\n  \"value\": [".to_owned(), &["input:2:12", "ends too early"][..]),
        ("azure-ml", "{\"value\": [,]}".to_owned(), &["input:1:12", "invalid JSON", "--output json"]),
        ("azure-ml", String::new(), &["invalid JSON"]),
        ("azure-ml", "7".to_owned(), &["error: expected an object, found a number"]),
        (
            "azure-ml",
            "{\"values\": []}".to_owned(),
            &["error: `value` is missing", "outboundNetworkDependenciesEndpoints"],
        ),
        ("azure-ml", "{\"value\": {}}".to_owned(), &["`value`: expected an array, found an object"]),
        (
            "azure-ml",
            "{\"$schema\": \"https://x/2\", \"value\": []}".to_owned(),
            &["unexpected field `$schema`"],
        ),
        (
            "azure-ml",
            "{\"value\": [], \"nextLink\": \"https://x/2\"}".to_owned(),
            &["`nextLink`", "all pages"],
        ),
        ("azure-ml", "[]".to_owned(), &["no host names in this file"]),
        ("azure-ml", "[{\"properties\": {}}]".to_owned(), &["`[0].properties`: `category` is missing"]),
        ("azure-ml", dependencies("{\"domainName\":7}"), &[at, "expected a string, found a number"]),
        ("azure-ml", dependencies("{\"domainName\":\"*pytorch.org\"}"), &[at, "help: write `*.pytorch.org`"]),
        ("azure-ml", dependencies("{\"domainName\":\"https://pypi.org\"}"), &[at, "help: write `pypi.org`"]),
        ("azure-ml", dependencies("{\"domainName\":\"a\\u001b[31m.example\"}"), &[at, "\\u{1b}"]),
        (
            "azure-ml",
            dependencies("{\"domainName\":\"a.example\",\"endpointDetails\":[{\"port\":0}]}"),
            &["endpointDetails[0].port`: 0 is not a port"],
        ),
        (
            "azure-ml",
            dependencies("{\"domainName\":\"a.example\",\"endpointDetails\":[{\"port\":70000}]}"),
            &["endpointDetails[0].port`: expected a number up to 65535"],
        ),
        ("private-endpoint", "{}".to_owned(), &["`ipConfigurations` is missing", "az network nic show"]),
        (
            "private-endpoint",
            "{\"ipConfigurations\": []}".to_owned(),
            &["not a private endpoint's interface"],
        ),
        (
            "private-endpoint",
            "[{\"FQDNs\": [\"a.example\"], \"IPAddress\": \"10.1\"}]".to_owned(),
            &["`[0].IPAddress`: `10.1` is not an IP address"],
        ),
        (
            "private-endpoint",
            "[{\"FQDNs\": [\"a..example\"], \"IPAddress\": \"10.1.0.1\"}]".to_owned(),
            &["`[0].FQDNs[0]`: `a..example`"],
        ),
        ("private-zone", "[]".to_owned(), &["no record sets"]),
        (
            "private-zone",
            set("\"type\":\"Microsoft.Network/privateDnsZones/NAPTR\""),
            &["`[0]`: unsupported record type `NAPTR`"],
        ),
        (
            "private-zone",
            set("\"type\":\"x/A\",\"aRecords\":[{\"ipv4Address\":\"1.2\"}]"),
            &["`[0].aRecords[0].ipv4Address`: `1.2` is not an IP address"],
        ),
        ("private-zone", "$TTL 1\na A 10.0.0.1\n".to_owned(), &["no SOA record"]),
        (
            "private-zone",
            "$TTL 1\n@ SOA a. b. 1 1 1 1 1\n".to_owned(),
            &["does not name its zone", "$ORIGIN"],
        ),
        (
            "private-zone",
            "$ORIGIN z.example.\n$TTL 1\n@ SOA a. b. 1 1 1 1 1\na A 10.0.0\n".to_owned(),
            &["input:4:1"],
        ),
        ("rpz", "a CNAME .\n".to_owned(), &["input:1:1"]),
        ("rpz", "$TTL 1\na.example CNAME .\n".to_owned(), &["no SOA record"]),
        ("list", "0.0.0.0 ads.example\n".to_owned(), &["input:1:", "hosts file"]),
        ("list", "a.example b.example\n".to_owned(), &["input:1:", "one pattern per line"]),
        ("list", "# nothing\n".to_owned(), &["no host names in this file"]),
    ] {
        let run = import_text(format, &text);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{format} {text}\n{}", run.stderr);
        run.expect_stderr(&["error"]).expect_stderr(texts);
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    namegate(directory, &["import", "list", "no/such/file"]).expect_code(2).expect_stderr(&["no/such/file"]);
}

#[test]
fn the_root_is_no_private_zone() {
    // Regression: it became a file without a name, and settings with an empty origin that could not be loaded.
    let run = import_text("private-zone", "$ORIGIN .\n$TTL 1\n@ SOA a. b. 1 1 1 1 1\n");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    run.expect_stderr(&["the root is not a private zone", "$ORIGIN"]);
}
