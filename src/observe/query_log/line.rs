//! [`Line`]: writes one query log line field by field, as text or JSON.

use std::io::Write;
use std::time::Duration;

use crate::config::LogFormat;

/// A line being written. JSON values are escaped here. Values for text must arrive escaped, as the presentation form of
/// names and records is.
pub struct Line<'o> {
    out: &'o mut Vec<u8>,
    format: LogFormat,
    first: bool,
}

impl<'o> Line<'o> {
    /// Starts a line at the end of `out`.
    pub fn begin(out: &'o mut Vec<u8>, format: LogFormat) -> Self {
        if format == LogFormat::Json {
            out.push(b'{');
        }
        Self { out, format, first: true }
    }

    /// Ends the line.
    pub fn end(self) {
        if self.format == LogFormat::Json {
            self.out.push(b'}');
        }
        self.out.push(b'\n');
    }

    fn key(&mut self, key: &str) {
        let between: &[u8] = if self.format == LogFormat::Json { b"," } else { b" " };
        if !std::mem::replace(&mut self.first, false) {
            self.out.extend_from_slice(between);
        }
        match self.format {
            LogFormat::Json => {
                self.out.push(b'"');
                self.out.extend_from_slice(key.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            LogFormat::Text => {
                self.out.extend_from_slice(key.as_bytes());
                self.out.push(b'=');
            }
        }
    }

    /// A field at the start of every line; text omits its key.
    pub fn head(&mut self, key: &str, value: &str) {
        match self.format {
            LogFormat::Json => self.text(key, value),
            LogFormat::Text => {
                if !std::mem::replace(&mut self.first, false) {
                    self.out.push(b' ');
                }
                self.out.extend_from_slice(value.as_bytes());
            }
        }
    }

    /// A constant that only JSON has.
    pub fn json_word(&mut self, key: &str, value: &'static str) {
        if self.format == LogFormat::Json {
            self.word(key, value);
        }
    }

    /// A constant that needs no escaping.
    pub fn word(&mut self, key: &str, value: &'static str) {
        self.key(key);
        let quote: &[u8] = if self.format == LogFormat::Json { b"\"" } else { b"" };
        for part in [quote, value.as_bytes(), quote] {
            self.out.extend_from_slice(part);
        }
    }

    /// A value from outside; escaped in JSON.
    pub fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        match self.format {
            LogFormat::Json => self.string(value),
            LogFormat::Text => self.out.extend_from_slice(value.as_bytes()),
        }
    }

    /// A value from outside that may contain spaces: quoted and escaped in text too.
    pub fn quoted(&mut self, key: &str, value: &str) {
        self.key(key);
        self.string(value);
    }

    /// A value with the same form in text and JSON.
    pub fn number(&mut self, key: &str, value: std::fmt::Arguments<'_>) {
        self.key(key);
        let _ = self.out.write_fmt(value);
    }

    /// A duration in seconds, to the microsecond.
    pub fn seconds(&mut self, key: &str, duration: Duration) {
        self.number(key, format_args!("{}", duration.as_secs()));
        let micros = duration.subsec_micros();
        let digit = |place: u32| b'0' + (micros / 10_u32.pow(place) % 10) as u8;
        self.out.extend_from_slice(&[b'.', digit(5), digit(4), digit(3), digit(2), digit(1), digit(0)]);
    }

    /// A list of values; text repeats the key for each.
    pub fn list(&mut self, key: &str, values: &[String]) {
        if self.format == LogFormat::Text {
            for value in values {
                self.key(key);
                self.string(value);
            }
            return;
        }
        self.key(key);
        for (index, value) in values.iter().enumerate() {
            self.out.push(if index == 0 { b'[' } else { b',' });
            self.string(value);
        }
        self.out.extend_from_slice(if values.is_empty() { b"[]" } else { b"]" });
    }

    fn string(&mut self, value: &str) {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if value.bytes().all(is_plain) {
            self.out.push(b'"');
            self.out.extend_from_slice(value.as_bytes());
            self.out.push(b'"');
        } else {
            // Writing to memory cannot fail.
            let _ = serde_json::to_writer(&mut *self.out, value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn line(format: LogFormat) -> String {
        let mut out = Vec::new();
        let mut line = Line::begin(&mut out, format);
        line.head("time", "now");
        line.word("decision", "blocked");
        line.text("name", "a\\\"b\u{1b}");
        line.seconds("latency_seconds", Duration::from_micros(1_000_042));
        line.number("sample", format_args!("{}", 7));
        line.list("answers", &["60 A 192.0.2.1".to_owned(), "x".to_owned()]);
        line.list("none", &[]);
        line.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn text_is_fields_between_spaces() {
        let wanted = "now decision=blocked name=a\\\"b\u{1b} latency_seconds=1.000042 sample=7 \
                      answers=\"60 A 192.0.2.1\" answers=\"x\"\n";
        assert_eq!(line(LogFormat::Text), wanted);
    }

    #[test]
    fn json_is_one_object() {
        let line = line(LogFormat::Json);
        assert!(line.ends_with("}\n") && line.lines().count() == 1, "{line}");
        let wanted = serde_json::json!({
            "time": "now", "decision": "blocked", "name": "a\\\"b\u{1b}", "latency_seconds": 1.000042, "sample": 7,
            "answers": ["60 A 192.0.2.1", "x"], "none": [],
        });
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), wanted);
    }
}
