//! [`LocalEntry`]: one entry of a master file as its words (RFC 1035 section 5.1).
//!
//! Entries are split here because hickory's parser reports no line, stops at the first fault, reads quotes inside
//! parentheses as text, reads `\DDD` in another base, and drops what follows `\;`. hickory only parses the data of
//! rarer types, and input that it would misread is rejected first.

use super::fault::Fault;

/// An entry without comments, parentheses and line breaks.
#[derive(Debug)]
pub(super) struct LocalEntry<'a> {
    /// Line of its first word, starting at 1.
    pub(super) line: usize,
    /// True if it begins with white space and so uses the previous owner.
    pub(super) owner_omitted: bool,
    /// Its words, at least one.
    pub(super) words: Vec<Word<'a>>,
}

/// A word as written in the file, including escapes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// True if it was quoted; `text` excludes the quotes.
    pub(super) quoted: bool,
}

/// A fault in a line: message and remedy.
type Wrong = (&'static str, &'static str);

/// The entries of `text` in order; a faulty one yields its fault.
pub(super) fn entries(text: &str) -> impl Iterator<Item = Result<LocalEntry<'_>, Fault>> {
    let mut lines = text.lines().zip(1..);
    std::iter::from_fn(move || {
        loop {
            let (line, number) = lines.next()?;
            let mut entry =
                LocalEntry { line: number, owner_omitted: line.starts_with([' ', '\t']), words: Vec::new() };
            let mut open = false;
            let mut fault = None;
            let mut next = Some((line, number));
            while let Some((line, number)) = next {
                if let Err((message, remedy)) = read_line(line, &mut open, &mut entry.words) {
                    fault = fault.or_else(|| Some(Fault::at(number, message, remedy)));
                }
                next = if open { lines.next() } else { None };
            }
            match fault {
                Some(fault) => return Some(Err(fault)),
                None if open => return Some(Err(Fault::at(number, NEVER_CLOSED.0, NEVER_CLOSED.1))),
                None if entry.words.is_empty() => {}
                None => return Some(Ok(entry)),
            }
        }
    })
}

/// Adds the words of one line. After a fault it still reads to the end, so that `open` is right for the next line.
fn read_line<'a>(line: &'a str, open: &mut bool, words: &mut Vec<Word<'a>>) -> Result<(), Wrong> {
    let mut result = Ok(());
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t']);
        let (length, checked) = match rest.chars().next() {
            None | Some(';') => return result,
            Some(parenthesis @ ('(' | ')')) => {
                let opens = parenthesis == '(';
                let paired = opens != *open;
                *open = opens;
                (1, if paired { Ok(()) } else { Err(PARENTHESIS) })
            }
            Some('"') => {
                let Some(length) = quoted_length(&rest[1..]) else { return result.and(Err(UNCLOSED)) };
                let text = &rest[1..=length];
                words.push(Word { text, quoted: true });
                (length + 2, check_quoted(text))
            }
            Some(_) => {
                let length = bare_length(rest);
                let text = &rest[..length];
                words.push(Word { text, quoted: false });
                (length, check_bare(text))
            }
        };
        result = result.and(checked);
        rest = &rest[length..];
    }
}

/// Length of an unquoted word: up to the first unescaped character that ends it.
fn bare_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.find(|character| {
        let ends = !escaped && matches!(character, ' ' | '\t' | ';' | '(' | ')');
        escaped = character == '\\' && !escaped;
        ends
    });
    end.unwrap_or(text.len())
}

/// Bytes before the closing quote.
fn quoted_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.find(|character| {
        let closes = character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        closes
    })
}

fn check_quoted(text: &str) -> Result<(), Wrong> {
    match text.contains(|character: char| character.is_control() && character != '\t') {
        true => Err(CONTROL),
        false => Ok(()),
    }
}

/// Rejects a word whose quotes would be misread.
fn check_bare(text: &str) -> Result<(), Wrong> {
    if text.contains(char::is_control) {
        return Err(CONTROL);
    }
    if text.replace("\\\"", "").matches('"').count() % 2 == 1 {
        return Err(("a quote opens inside a word", "quote the whole word, or remove the white space"));
    }
    Ok(())
}

/// Rejects a word whose escapes hickory would misread: `\DDD` in another base, `\;` as the end.
pub(super) fn check_for_hickory(word: &Word<'_>) -> Result<(), Wrong> {
    if word.quoted {
        let mut characters = word.text.chars();
        while let Some(character) = characters.next() {
            if character == '\\' && characters.next().is_some_and(char::is_numeric) {
                return Err((
                    "`\\DDD` escapes are not supported in data of this type",
                    "write the data as `\\# LENGTH HEX`",
                ));
            }
        }
    } else if word.text.split('\\').skip(1).any(|after| !after.starts_with('.')) {
        return Err((
            "outside quotes, the only escape supported in data of this type is `\\.`",
            "put the text in quotes",
        ));
    }
    Ok(())
}

const PARENTHESIS: Wrong = ("unbalanced parenthesis", "write one `(` and one `)` per entry");
const NEVER_CLOSED: Wrong = ("the parenthesis is never closed", "end the entry with `)`");
const UNCLOSED: Wrong =
    ("the quoted text does not end on its line", "close it with `\"`, or split it into several quoted texts");
const CONTROL: Wrong = ("control character", "remove it; a master file is plain UTF-8 text");

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let entry = |entry: LocalEntry<'_>| entry.words.iter().map(|word| word.text.to_owned()).collect();
        entries(text).map(|result| entry(result.unwrap())).collect()
    }

    fn fault(text: &str) -> (usize, String) {
        let fault = entries(text).find_map(Result::err).unwrap();
        (fault.line.unwrap(), fault.message)
    }

    #[test]
    fn splits_entries_over_lines_and_drops_comments() {
        let text = "; head\r\n@ SOA a b (1 ; serial )\r\n  2\r\n\t3 ) ; end\r\n\n  NS \"x;(y\" z;w\n";
        let split: Vec<_> = entries(text).map(Result::unwrap).collect();
        assert_eq!(words(text)[0], ["@", "SOA", "a", "b", "1", "2", "3"]);
        assert_eq!((split[0].line, split[0].owner_omitted), (2, false));
        assert_eq!((split[1].line, split[1].owner_omitted), (6, true));
        assert_eq!(words(text)[1], ["NS", "x;(y", "z"]);
        assert!(split[1].words[1].quoted && !split[1].words[2].quoted);
    }

    #[test]
    fn faults_name_their_line_and_do_not_cascade() {
        assert_eq!(fault("a A 1\nb TXT \"open\n").0, 2);
        assert_eq!(fault("a A 1\nb SOA ( 1\n2\n"), (2, "the parenthesis is never closed".to_owned()));
        assert_eq!(fault("a )\n").0, 1);
        assert_eq!(fault("a ( ( )\n").0, 1);
        assert_eq!(words("a TXT x\\;y\\ z \"\\065\"\n")[0], ["a", "TXT", "x\\;y\\ z", "\\065"]);
        assert!(fault("a TXT x\u{1b}[31m\n").1.contains("control"));
        assert_eq!(fault("a TXT x\"y z\n").0, 1);
        let text = "a SOA ( 1\n \"2\n 3 )\nb A 1\n";
        assert_eq!(entries(text).filter(Result::is_err).count(), 1);
        assert_eq!(entries(text).filter(Result::is_ok).count(), 1);
    }
}
