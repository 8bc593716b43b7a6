//! [`ask`]: questions on a terminal, with defaults.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read, Write};
use std::net::SocketAddr;

use clap::ValueEnum;

use super::{AzureCloud, RESOURCES};
use crate::config::{label, listen_address};

/// Longest answer read, in bytes.
const MAX_ANSWER: u64 = 4096;

/// Invalid answers to one question before it gives up.
const TRIES: usize = 3;

/// The answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The cloud.
    pub cloud: AzureCloud,
    /// The user's resources, by the names in [`RESOURCES`].
    pub resources: BTreeMap<&'static str, Vec<String>>,
    /// Leave out rules that also allow names of other tenants.
    pub strict: bool,
    /// The address to listen on.
    pub listen: SocketAddr,
}

/// Why there are no answers.
#[derive(Debug, thiserror::Error)]
pub enum QuestionsError {
    /// The terminal was closed.
    #[error("the input ended before the last answer")]
    Ended,
    /// Too many invalid answers.
    #[error("no valid answer in three tries")]
    TooManyTries,
    /// The terminal cannot be read or written.
    #[error("the terminal: {0}")]
    Terminal(#[from] io::Error),
}

/// Asks for cloud, resources and address. An empty answer is the default.
///
/// Errors: the input ended, or an answer was invalid several times.
pub fn ask(
    input: &mut impl BufRead,
    output: &mut impl Write,
    listen: SocketAddr,
) -> Result<Answers, QuestionsError> {
    let cloud =
        question(input, output, "Cloud: public, government or china [public]", |answer| match answer {
            "" => Ok(AzureCloud::Public),
            _ => {
                AzureCloud::from_str(answer, true).map_err(|_| "write public, government or china".to_owned())
            }
        })?;
    let mut resources = BTreeMap::new();
    for (resource, what, example) in RESOURCES {
        let text = format!("{what}, with commas between them, such as {example} [none]");
        let labels = |answer: &str| {
            let values = answer.split([',', ' ']).filter(|value| !value.is_empty());
            values
                .map(|value| label(value).map_err(|error| format!("`{value}`: {error}")))
                .collect::<Result<Vec<_>, _>>()
        };
        resources.insert(resource, question(input, output, &text, labels)?);
    }
    let text = "Leave out rules that also allow names of other tenants: yes or no [no]";
    let strict = question(input, output, text, |answer| match answer.to_ascii_lowercase().as_str() {
        "" | "no" | "n" => Ok(false),
        "yes" | "y" => Ok(true),
        _ => Err("write yes or no".to_owned()),
    })?;
    let text = format!("Address to listen on [{listen}]");
    let listen = question(input, output, &text, |answer| match answer {
        "" => Ok(listen),
        _ => listen_address(answer).map_err(|error| error.to_string()),
    })?;
    Ok(Answers { cloud, resources, strict, listen })
}

fn question<T>(
    input: &mut impl BufRead,
    output: &mut impl Write,
    text: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, QuestionsError> {
    for _ in 0..TRIES {
        write!(output, "{text}: ")?;
        output.flush()?;
        let mut answer = Vec::new();
        input.by_ref().take(MAX_ANSWER).read_until(b'\n', &mut answer)?;
        if !answer.ends_with(b"\n") {
            return Err(QuestionsError::Ended);
        }
        match read(String::from_utf8_lossy(&answer).trim()) {
            Ok(value) => return Ok(value),
            Err(fault) => writeln!(output, "  {}", crate::util::escape::on_one_line(&fault))?,
        }
    }
    Err(QuestionsError::TooManyTries)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answers(text: &str) -> (Result<Answers, QuestionsError>, String) {
        let mut shown = Vec::new();
        let answers = ask(&mut text.as_bytes(), &mut shown, "10.0.0.4:53".parse().unwrap());
        (answers, String::from_utf8(shown).unwrap())
    }

    #[test]
    fn empty_answers_are_defaults() {
        let (found, shown) = answers(&"\n".repeat(7));
        let found = found.unwrap();
        assert_eq!((found.cloud, found.strict), (AzureCloud::Public, false));
        assert!(found.resources.values().all(Vec::is_empty));
        assert_eq!(found.listen.to_string(), "10.0.0.4:53");
        assert!(shown.contains("Address to listen on [10.0.0.4:53]: "), "{shown}");
    }

    #[test]
    fn answers_are_read() {
        let (found, _) =
            answers("Government\r\nusgovarizona, usgovvirginia\n contoso \n\n\nyes\n127.0.0.1\n");
        let found = found.unwrap();
        assert_eq!((found.cloud, found.strict), (AzureCloud::Government, true));
        assert_eq!(found.resources["region"], ["usgovarizona", "usgovvirginia"]);
        assert_eq!(
            (&*found.resources["storage"], &*found.resources["acr"]),
            (&["contoso".to_owned()][..], &[][..])
        );
        assert_eq!(found.listen.to_string(), "127.0.0.1:53");
    }

    #[test]
    fn invalid_answers_are_asked_again_but_not_forever() {
        let (found, shown) = answers("mars\npublic\nwest europe.\n\n\n\n\n\n\n");
        assert_eq!(found.unwrap().cloud, AzureCloud::Public);
        assert!(shown.contains("  write public, government or china\n"), "{shown}");
        assert!(shown.contains("  `europe.`: invalid character `.`"), "{shown}");
        let long = "x".repeat(10_000);
        for (case, text) in
            [("no answers", ""), ("half an answer", "public"), ("an endless line", long.as_str())]
        {
            assert!(matches!(answers(text).0, Err(QuestionsError::Ended)), "{case}");
        }
        assert!(matches!(answers("a\nb\nc\npublic\n").0, Err(QuestionsError::TooManyTries)));
    }
}
