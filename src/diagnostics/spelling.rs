//! Which known word a misspelt one is nearest to.

/// Least similarity (Jaro–Winkler, 0 to 1) at which a known word is worth suggesting: high enough that another word is
/// not mistaken for a slip. The test below has examples of both.
const SIMILAR: f64 = 0.8;

/// The known word most like `word`, if any is alike enough to have been meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(&word.to_lowercase(), known), *known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// What to write instead of a word that is not known.
pub(crate) fn suggest(word: &str, known: &[&str]) -> String {
    let all = || known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    nearest(word, known)
        .map_or_else(|| format!("known here: {}", all()), |near| format!("did you mean `{near}`?"))
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
        assert_eq!(suggest("x", &["a", "b"]), "known here: `a`, `b`");
    }
}
