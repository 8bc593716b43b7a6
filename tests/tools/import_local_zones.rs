//! Tests `namegate import private-endpoint` and `private-zone`: files that namegate serves as local zones.

use tempfile::TempDir;

use crate::support::command::namegate;
use crate::support::{Gate, ScriptedUpstream};
use crate::tools::import::{data, import};

#[test]
fn a_private_endpoint_becomes_local_zones_that_answer() {
    let upstream = ScriptedUpstream::start();
    let directory = TempDir::new().expect("a temporary directory");
    let arguments = ["import", "private-endpoint", &data("nic.json"), "--output", "."];
    let run = namegate(directory.path(), &arguments).expect_code(0);
    let local = run.stderr.split_once("[[local]]").expect("a snippet").1;
    let local = format!("[[local]]{local}").replace("file = \"", "file = \"{dir}/");
    let files: Vec<(String, String)> = std::fs::read_dir(directory.path())
        .expect("a directory")
        .map(|file| file.expect("a file").path())
        .map(|path| {
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    assert_eq!(files.len(), 8, "a zone for each name, and for the name it is an alias of");
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let gate = Gate::with_files(&[upstream.address()], &local, &files);
    let id = "7d2b5c1e-93aa-4c0f-8a51-0b6f7c2d9e10";
    for (name, address) in [
        (format!("{id}.workspace.eastus.api.azureml.ms"), "10.1.0.5"),
        (format!("{id}.workspace.eastus.privatelink.api.azureml.ms"), "10.1.0.5"),
        (format!("{id}.workspace.eastus.cert.api.azureml.ms"), "10.1.0.5"),
        (format!("{id}.workspace.eastus.cert.privatelink.api.azureml.ms"), "10.1.0.5"),
        (format!("ml-contoso-eastus-{id}.eastus.notebooks.azure.net"), "10.1.0.6"),
        (format!("ml-contoso-eastus-{id}.eastus.privatelink.notebooks.azure.net"), "10.1.0.6"),
        ("scoring.eastus.inference.ml.azure.com".to_owned(), "10.1.0.7"),
        (format!("scoring.{id}.inference.eastus.privatelink.api.azureml.ms"), "10.1.0.7"),
    ] {
        assert_eq!(gate.ask(&name, "A").answer_data(), [address], "{name}");
        assert_eq!(upstream.count(&name), 0, "{name}");
    }
}

#[test]
fn the_shapes_of_an_interface_are_all_read() {
    for (file, record, origins) in [
        (
            "nic-rest.json",
            "@ A 10.1.0.9",
            &["contosovault.vault.azure.net", "contosovault.privatelink.vaultcore.azure.net"][..],
        ),
        (
            "nic-query.json",
            "@ A 10.1.0.11",
            &[
                "contosoreg.azurecr.io",
                "contosoreg.eastus.data.privatelink.azurecr.io",
                "contosoreg.privatelink.azurecr.io",
            ],
        ),
    ] {
        let run = import(&["private-endpoint", &data(file)]).expect_code(0);
        assert!(run.stdout.contains(record), "{}", run.stdout);
        for origin in origins {
            assert!(
                run.stdout.contains(&format!("; {origin}.zone\n$ORIGIN {origin}.\n")),
                "{origin}\n{}",
                run.stdout
            );
            assert!(run.stderr.contains(&format!("origin = \"{origin}\"")), "{}", run.stderr);
        }
    }
}

#[test]
fn a_private_zone_becomes_a_local_zone_that_answers() {
    let id = "7d2b5c1e-93aa-4c0f-8a51-0b6f7c2d9e10";
    let cases = [
        (
            "record-sets.json",
            "privatelink.api.azureml.ms",
            vec![
                (format!("{id}.workspace.eastus"), "A", vec!["10.1.0.5".to_owned()]),
                (
                    format!("any.{id}.inference.eastus"),
                    "A",
                    vec!["10.1.0.7".to_owned(), "10.1.0.8".to_owned()],
                ),
                (
                    "alias".to_owned(),
                    "A",
                    vec![format!("{id}.workspace.eastus.privatelink.api.azureml.ms."), "10.1.0.5".to_owned()],
                ),
                ("six".to_owned(), "AAAA", vec!["fd00::5".to_owned()]),
            ],
        ),
        (
            "zone-export.txt",
            "privatelink.notebooks.azure.net",
            vec![(format!("ml-contoso-eastus-{id}.eastus"), "A", vec!["10.1.0.6".to_owned()])],
        ),
    ];
    for (file, origin, questions) in cases {
        let upstream = ScriptedUpstream::start();
        let run = import(&["private-zone", &data(file)]).expect_code(0);
        assert!(run.stderr.contains(&format!("[[local]]\norigin = \"{origin}\"")), "{}", run.stderr);
        let settings = format!("[[local]]\norigin = \"{origin}\"\nfile = \"{{dir}}/imported.zone\"");
        let gate = Gate::with_files(&[upstream.address()], &settings, &[("imported.zone", &run.stdout)]);
        for (owner, kind, data) in questions {
            let name = format!("{owner}.{origin}");
            let same = |data: &[String]| {
                data.iter().map(|one| one.trim_end_matches('.').to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(same(&gate.ask(&name, kind).answer_data()), same(&data), "{name} {kind}");
        }
        assert_eq!(gate.ask(&format!("none.{origin}"), "A").rcode(), "NXDOMAIN");
        assert!(upstream.asked().is_empty());
    }
    let text = import(&["private-zone", &data("record-sets.json")]).stdout;
    for record in [
        "note.privatelink.api.azureml.ms. 300 IN TXT \"owner=\\\"platform\\\"; do not delete\" \"a\\\\b\"",
        "mail.privatelink.api.azureml.ms. 300 IN MX 10 mx.contoso.example.",
        "_ldap._tcp.privatelink.api.azureml.ms. 300 IN SRV 1 5 389 dc.contoso.example.",
    ] {
        assert!(text.contains(record), "{record} in\n{text}");
    }
}
