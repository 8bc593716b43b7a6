//! [`Source`]: the text of a file with the offsets of its lines.

use std::ops::Range;

/// Some editors write this before the first character of a UTF-8 file.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A file's text, its name in messages, and the offsets of its lines.
#[derive(Clone, Debug)]
pub struct Source {
    file: String,
    text: String,
    line_starts: Vec<usize>,
    /// The line numbers, if the text is only an excerpt of the file.
    line_numbers: Vec<usize>,
}

impl Source {
    /// A text and its name in messages.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let after_newlines =
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_newlines).collect();
        Self { file: file.into(), text, line_starts, line_numbers: Vec::new() }
    }

    /// Some lines of a file, each with its line ending, and their numbers in ascending order.
    pub(crate) fn excerpt(file: &str, lines: String, line_numbers: Vec<usize>) -> Self {
        Self { line_numbers, ..Self::new(file, lines) }
    }

    /// The file name in messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True for a text of whitespace only, without even a comment.
    pub(crate) fn is_blank(&self) -> bool {
        self.text.trim_ascii().is_empty()
    }

    /// True for a TOML file that sets nothing: it has only comments and table headers.
    pub(crate) fn is_unset(&self) -> bool {
        let table: Result<toml::Table, _> = self.text.trim_start_matches(BYTE_ORDER_MARK).parse();
        table.is_ok_and(|table| table.values().all(sets_nothing))
    }

    /// The line of byte `offset`, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        self.line_numbers.get(line.saturating_sub(1)).copied().unwrap_or(line)
    }

    /// Line and column of byte `offset`, both counted from 1, columns in characters.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let line = self.line(offset);
        let before = self.text.get(self.line_range(line).start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// Bytes of `line` (counted from 1), without line ending and byte order mark.
    pub(crate) fn line_range(&self, line: usize) -> Range<usize> {
        let line = self.line_numbers.binary_search(&line).map_or(line, |index| index + 1);
        let end = self.line_starts.get(line).copied().unwrap_or(self.text.len());
        let start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or(end);
        let text = self.text.get(start..end).unwrap_or_default();
        let mark =
            if start == 0 && text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
        start + mark..start + text.trim_end_matches(['\r', '\n']).len()
    }
}

fn sets_nothing(value: &toml::Value) -> bool {
    value.as_table().is_some_and(|table| table.values().all(sets_nothing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_one_in_characters() {
        let source = Source::new("a.toml", "\u{feff}ab\r\n\tü = 1\n\nlast");
        for (part, place) in
            [("ab", (1, 1)), ("ü", (2, 2)), ("= 1", (2, 4)), ("last", (4, 1)), ("st", (4, 3))]
        {
            let offset = source.text().find(part).unwrap_or_default();
            assert_eq!(source.place(offset), place, "{part}");
        }
        assert_eq!(source.place(source.text().len()), (4, 5));
        assert_eq!(&source.text()[source.line_range(1)], "ab");
        assert_eq!(&source.text()[source.line_range(3)], "");
        assert_eq!(&source.text()[source.line_range(4)], "last");
    }

    #[test]
    fn an_excerpt_keeps_the_lines_numbers() {
        let source = Source::excerpt("a.list", "ab\nc d\n".to_owned(), vec![3, 70]);
        assert_eq!((source.place(1), source.place(4)), ((3, 2), (70, 2)));
        assert_eq!(&source.text()[source.line_range(70)], "c d");
    }
}
