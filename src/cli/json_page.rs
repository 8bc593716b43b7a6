//! The JSON pages of a running gate, as its own commands read them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::http::{AdminClient, NoPage, printable};

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoJson {
    /// No page.
    #[error("no answer from {0}: {1}")]
    Unanswered(String, NoPage),
    /// A page, but not the one asked for.
    #[error("{url} has no gate's status (HTTP {status}{why})")]
    NoGate { url: String, status: u16, why: &'static str },
}

impl AdminClient {
    /// Fetches the JSON page `path`; every text in it is printable ASCII.
    pub(super) async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, NoJson> {
        let url = || self.url(path);
        let page = self.get(path).await.map_err(|error| NoJson::Unanswered(self.url(""), error))?;
        if page.status != 200 {
            return Err(NoJson::NoGate { url: url(), status: page.status, why: "" });
        }
        let why = ", not the JSON expected: is it another version?";
        let no_gate = |_| NoJson::NoGate { url: url(), status: page.status, why };
        let mut value = serde_json::from_slice(&page.body).map_err(no_gate)?;
        make_printable(&mut value);
        serde_json::from_value(value).map_err(no_gate)
    }
}

/// Makes every text within `value` [`printable`].
fn make_printable(value: &mut Value) {
    match value {
        Value::String(text) => *text = printable(text),
        Value::Array(values) => values.iter_mut().for_each(make_printable),
        Value::Object(members) => members.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_printable_at_every_depth() {
        let mut value = json!({"a": ["x\u{1b}[31m", {"b": "y\n", "c": [1, null, true]}]});
        make_printable(&mut value);
        assert_eq!(value, json!({"a": ["x?[31m", {"b": "y?", "c": [1, null, true]}]}));
    }
}
