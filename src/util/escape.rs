//! Escapes untrusted text for messages, comments and files.

/// The text on one line: characters that end the line, move a terminal's cursor or change the text direction are
/// escaped.
pub(crate) fn on_one_line(text: &str) -> String {
    let shown = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        c => c.escape_debug().to_string(),
    };
    text.chars().map(shown).collect()
}

/// Untrusted text for a message: on one line, and cut off after 200 characters.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX: usize = 200;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => on_one_line(&text[..end]) + "…",
        None => on_one_line(text),
    }
}

/// A message with its hint on one line: `what; help: hint`.
pub(crate) fn message_on_one_line(message: &str) -> String {
    on_one_line(&message.replace("\n  help: ", "; help: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_line() {
        for (text, shown) in [
            ("plain ü", "plain ü"),
            ("a \"b\" 'c' \\d", "a \"b\" 'c' \\d"),
            ("\u{202e}ms.lmeruza", "\\u{202e}ms.lmeruza"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("\u{1b}[31mred\u{9b}0m", "\\u{1b}[31mred\\u{9b}0m"),
        ] {
            assert_eq!(on_one_line(text), shown);
        }
    }
}
