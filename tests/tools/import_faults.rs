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
        ("list", "a.example\n0.0.0.0 ads.example\n".to_owned(), &["input:2:", "hosts file"]),
        ("list", "0.0.0.0 ads.example\na.example\n".to_owned(), &["input:2:", "an address on every line"]),
        ("list", "[\"a.example\", 7]".to_owned(), &["`[1]`: expected a string, found a number"]),
        ("list", "[{\"id\": 1}]".to_owned(), &["`[0]`: `domains` is missing"]),
        ("list", "[\"https://a.example\"]".to_owned(), &["`[0]`: `https://a.example`", "help: write `a.example`"]),
        ("list", "{\"Domains\": [\"a.example\"], \"NextToken\": \"x\"}".to_owned(), &["`NextToken`", "all pages"]),
        ("list", "{\"Domains\": \"a.example\"}".to_owned(), &["`Domains`: expected an array, found a string"]),
        ("list", "{\"domains\": [\"a.example.\"".to_owned(), &["input:1:", "ends too early"]),
        ("list", "allowed-endpoints: >\n  ${{ vars.X }}\n".to_owned(), &["input:2:", "an expression of GitHub Actions"]),
        ("list", "allowed-endpoints: a.example:443\n  b.example:443\n".to_owned(), &["input:2:", "as a block"]),
        ("list", "a.example:0\n".to_owned(), &["input:1:", "without port"]),
        (
            "azure-ml",
            "{\"StatusCode\": 200, \"Content\": \"{}\"}".to_owned(),
            &["`Content`: this is an HTTP response of PowerShell", "Invoke-AzRestMethod"],
        ),
        (
            "azure-ml",
            "[{\"Category\": \"c\", \"Endpoint\": [\"@{DomainName=a.example}\"]}]".to_owned(),
            &["`[0].Endpoint[0]`: PowerShell has cut this off", "-Depth 10"],
        ),
        (
            "azure-ml",
            "[{\"type\": \"vpn\", \"destination\": \"a.example\"}]".to_owned(),
            &["`[0].type`: unknown type of rule"],
        ),
        (
            "azure-ml",
            "{\"managedNetwork\": {\"isolationMode\": \"Disabled\"}}".to_owned(),
            &["has no `outboundRules`"],
        ),
        ("azure-firewall", "{}".to_owned(), &["no `ruleCollections`", "az network firewall policy"]),
        ("azure-firewall", "[{\"ruleCollections\": [{\"rules\": []}]}]".to_owned(), &["`action` is missing"]),
        (
            "azure-firewall",
            "[{\"ruleCollections\": [{\"ruleCollectionType\": \"Other\"}]}]".to_owned(),
            &["`[0].ruleCollections[0].ruleCollectionType`: unknown type of rule collection"],
        ),
        (
            "azure-firewall",
            "[{\"ruleCollections\": [{\"action\": {\"type\": \"Allow\"}, \"rules\": [{\"targetFqdns\": [\"*a.example\"]}]}]}]"
                .to_owned(),
            &["targetFqdns[0]`: `*a.example`", "help: write `*.a.example`"],
        ),
        (
            "azure-firewall",
            "[{\"ruleCollections\": [{\"action\": {\"type\": \"Allow\"}, \"rules\": [{\"targetFqdns\": [\"[parameters('x')]\"]}]}]}]"
                .to_owned(),
            &["an expression of an ARM template", "deploy the template"],
        ),
        ("list", "a.example b.example\n".to_owned(), &["input:1:", "one pattern per line"]),
        ("list", "*.contoso.co".to_owned(), &["input:1:", "the file may be cut off", "newline"]),
        ("list", "a.example\r\nb.exam".to_owned(), &["input:2:", "the file may be cut off"]),
        ("list", "0.0.0.0 ads.example\n0.0.0.0 b.exa".to_owned(), &["input:2:", "the file may be cut off"]),
        ("list", "||ads.example^\n||b.exa^".to_owned(), &["input:2:", "the file may be cut off"]),
        ("list", "allowed-endpoints: >\n  pypi.or".to_owned(), &["input:2:", "the file may be cut off"]),
        (
            "rpz",
            "$TTL 1\n@ SOA a. b. 1 1 1 1 1\na.example CNAME .".to_owned(),
            &["input:3:", "the file may be cut off"],
        ),
        ("list", "{\"value\": [], \"odata.nextLink\": \"x\"}".to_owned(), &["odata.nextLink", "all pages"]),
        ("list", "{\"value\": [], \"@odata.nextLink\": \"x\"}".to_owned(), &["@odata.nextLink", "all pages"]),
        ("list", "{\"Domains\": [], \"nexttoken\": \"x\"}".to_owned(), &["`nexttoken`", "all pages"]),
        (
            "azure-ml",
            "{\"value\": [], \"NEXTLINK\": \"https://x/2\"}".to_owned(),
            &["`NEXTLINK`", "all pages"],
        ),
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
fn other_encodings_are_read_or_refused() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let text = "pypi.org\r\nfiles.pythonhosted.org\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (bytes, refusal) in [
        ([&b"\xff\xfe"[..], &little].concat(), None),
        ([&b"\xfe\xff"[..], &big].concat(), None),
        ([&b"\xef\xbb\xbf"[..], text.as_bytes()].concat(), None),
        (little.clone(), Some("NUL bytes")),
        ([&b"\xff\xfe"[..], &little[1..]].concat(), Some("not valid UTF-16")),
        ([&b"\xff\xfe"[..], &little[..little.len() - 10]].concat(), Some("the file may be cut off")),
        (b"\xff\xfe\0\0p\0\0\0".to_vec(), Some("UTF-32")),
        (b"pypi.org\nb\xfccher.example\n".to_vec(), Some("not UTF-8")),
    ] {
        std::fs::write(directory.path().join("input"), bytes).expect("a file can be written");
        let run = namegate(directory.path(), &["import", "list", "input"]);
        match refusal {
            None => assert!(run.expect_code(0).stdout.contains("host = \"files.pythonhosted.org\"")),
            Some(text) => {
                let remedy = if text.contains("cut off") { "newline" } else { "UTF-8" };
                run.expect_code(2).expect_stderr(&[text, remedy]);
            }
        }
    }
}

#[test]
fn the_root_is_no_private_zone() {
    // Regression: it became a file without a name, and settings with an empty origin that could not be loaded.
    let run = import_text("private-zone", "$ORIGIN .\n$TTL 1\n@ SOA a. b. 1 1 1 1 1\n");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{}", run.stderr);
    run.expect_stderr(&["the root is not a private zone", "$ORIGIN"]);
}
