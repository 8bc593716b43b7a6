//! Writes master files, and checks them with [`crate::local`].

use hickory_proto::rr::Name;

use super::{File, Imported};
use crate::diagnostics::{Diagnostic, Report, Source};
use crate::local::LocalZones;
use crate::wire::name as wire;

/// A name in master-file form, with the final dot.
pub(super) fn written<'l>(labels: impl IntoIterator<Item = &'l [u8]>) -> String {
    match wire::Name::from_labels(labels) {
        Ok(name) if !name.is_root() => format!("{name}."),
        _ => ".".to_owned(),
    }
}

/// The file of a local zone.
///
/// Errors: namegate could not load the zone.
pub(super) fn file(source: &Source, origin: &Name, text: String) -> Result<File, Report> {
    if origin.is_root() {
        let help = "begin the file with the zone, such as `$ORIGIN privatelink.api.azureml.ms.`".to_owned();
        return Err(Diagnostic::error(source.file(), "the root is not a private zone")
            .with_help(help)
            .into());
    }
    let zone = origin.to_ascii();
    let zone = zone.trim_end_matches('.');
    match LocalZones::from_texts(&[(zone, &text)]) {
        Ok(_) => Ok(File { name: format!("{}.zone", zone.replace(['/', '\\'], "_")), text }),
        Err(report) => {
            // The places are those in the written text.
            let file = source.file().to_owned();
            let lost_place =
                |fault: &Diagnostic| Diagnostic { file: file.clone(), span: None, ..fault.clone() };
            Err(Report::new(source.clone(), report.diagnostics().iter().map(lost_place).collect()))
        }
    }
}

/// The `[[local]]` tables for the files.
pub(super) fn snippet(files: &[File]) -> String {
    let table = |file: &File| {
        let origin = file.name.strip_suffix(".zone").unwrap_or(&file.name);
        format!(
            "[[local]]\norigin = {}\nfile = {}\n",
            toml::Value::from(origin),
            toml::Value::from(file.name.as_str())
        )
    };
    files.iter().map(table).collect::<Vec<_>>().join("\n")
}

/// The files, with a remark that shows the settings they need.
pub(super) fn imported(files: Vec<File>, mut remarks: Vec<String>, complete: bool) -> Imported {
    remarks.push(format!("to serve the imported zones, add to the settings:\n\n{}", snippet(&files)));
    Imported { files, remarks, complete }
}

/// The SOA record that every zone needs. Negative answers live for 10 seconds, as in Azure's private zones.
pub(super) const SOA: &str = "@ 3600 IN SOA namegate.invalid. hostmaster.invalid. 1 3600 300 2419200 10\n";
