//! Suggestions for misspelt words.

/// Minimum similarity (Jaro–Winkler, 0 to 1) for a suggestion: high enough that a different word does not count as a
/// typing error. The test below has examples of both.
const SIMILAR: f64 = 0.8;

/// The known word most similar to `word`, if any is similar enough.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(&word.to_lowercase(), known), *known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// The hint for an unknown word: the most similar known word, or all of them.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    let all = || known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    nearest(word, known)
        .map_or_else(|| format!("use one of: {}", all()), |near| format!("did you mean `{near}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_was_meant() {
        let known = ["listen", "workers", "udp_payload", "allow_clients"];
        for (word, meant) in [
            ("listn", Some("listen")),
            ("Listen", Some("listen")),
            ("udp-payload", Some("udp_payload")),
            ("allow_client", Some("allow_clients")),
            ("payload", Some("udp_payload")),
            ("route", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(suggest("listn", &known), "did you mean `listen`?");
        assert_eq!(suggest("x", &["a", "b"]), "use one of: `a`, `b`");
    }
}
