//! [`Metrics`]: the parsed page at `/metrics`, and the HTTP request that fetches it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// One line of the page.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// Metric name.
    pub(crate) name: String,
    /// Labels.
    pub(crate) labels: BTreeMap<String, String>,
    /// Value.
    pub(crate) value: f64,
}

/// A page of metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// The page.
    pub(crate) text: String,
    /// Its samples.
    pub(crate) samples: Vec<Sample>,
}

impl Metrics {
    /// Fetches the page from the admin listener at `admin`.
    pub(crate) fn fetch(admin: SocketAddr) -> Self {
        let (status, text) = get(admin, "/metrics");
        assert_eq!(status, 200, "GET /metrics: {text}");
        Self::parse(text)
    }

    /// Parses Prometheus's text format.
    pub(crate) fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(sample).collect();
        Self { text, samples }
    }

    /// Sum of all samples of `name` whose labels include `labels`; 0 if there are none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let includes = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|have| have == value))
        };
        self.samples.iter().filter(includes).map(|sample| sample.value).sum()
    }

    /// True if `name` has a sample.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }

    /// All series: name with labels.
    pub(crate) fn series(&self) -> BTreeSet<String> {
        self.samples.iter().map(|sample| format!("{} {:?}", sample.name, sample.labels)).collect()
    }

    /// Queries received, and their results: responses + dropped + in flight.
    pub(crate) fn accounting(&self) -> (f64, f64) {
        let total = |name| self.sum(name, &[]);
        let outcomes = total("namegate_responses_total")
            + total("namegate_dropped_total")
            + total("namegate_queries_in_flight");
        (total("namegate_queries_total"), outcomes)
    }
}

fn sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in `{line}`"));
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let value = value.parse().unwrap_or_else(|_| panic!("no number in `{line}`"));
    Sample { name: name.to_owned(), labels: parse_labels(labels, line), value }
}

/// Reads `key="value",…}`, where a value may hold escaped quotes and any other character.
fn parse_labels(text: &str, line: &str) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut rest = text.trim_end_matches('}').trim_matches(',');
    while !rest.is_empty() {
        let (key, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("labels of `{line}`"));
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next().unwrap_or_else(|| panic!("a quote is open in `{line}`")) {
                (at, '"') => break at,
                (_, '\\') => value.extend(
                    characters.next().map(|(_, escaped)| if escaped == 'n' { '\n' } else { escaped }),
                ),
                (_, character) => value.push(character),
            }
        };
        labels.insert(key.trim_start_matches(',').to_owned(), value);
        rest = &quoted[end + 1..];
    }
    labels
}

/// Fetches `path` by HTTP; returns status and body.
pub(crate) fn get(server: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).expect("the admin listener accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request can be sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response in UTF-8");
    let (head, body) = response.split_once("\r\n\r\n").expect("a response has a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    (status, if chunked { joined(body) } else { body.to_owned() })
}

fn joined(chunks: &str) -> String {
    let (mut body, mut rest) = (String::new(), chunks);
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        body.push_str(&after[..size]);
        rest = after.get(size + 2..).unwrap_or_default();
    }
    body
}
