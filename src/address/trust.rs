//! Certificate and handshake errors, with what to change.

use std::io;

/// The text for a connection error.
pub(crate) fn explain(error: &io::Error) -> String {
    with_remedy(&error.to_string())
}

/// Texts of rustls about certificates and handshakes, and the remedy for each. The first match counts.
const REMEDIES: [(&str, &str); 10] = [
    (
        "CaUsedAsEndEntity",
        "the server presents a CA certificate as its own, which is the default of `openssl req -x509`; reissue it with \
         `-addext basicConstraints=critical,CA:FALSE`",
    ),
    ("UnknownIssuer", "accepted CAs are set by `upstream.roots`"),
    ("BadSignature", "accepted CAs are set by `upstream.roots`"),
    (
        "certificate is not valid for any names",
        "the certificate has only a common name, which TLS clients ignore; reissue it with a subjectAltName",
    ),
    (
        "UnsupportedSignatureAlgorithm",
        "the key of the certificate or of its issuer is not supported; use P-256, P-384, Ed25519, or RSA with at least \
         2048 bits",
    ),
    (
        "HandshakeFailure",
        "client and server share no cipher suite or key type; use a certificate with a P-256, P-384 or Ed25519 key, or \
         RSA with at least 2048 bits; P-521 is not supported",
    ),
    (
        "NoApplicationProtocol",
        "the server does not speak this DNS transport on this port; for `https://` it must offer HTTP/2",
    ),
    ("certificate not valid for name", "write a name that is in the certificate after `#`"),
    ("certificate expired", "renew the server's certificate, or correct this host's clock"),
    ("certificate not valid yet", "correct this host's clock"),
];

/// Longest text of a server in an error, in characters: a server may send a whole page.
const MAX_SHOWN: usize = 200;

/// Makes `text` safe for the log, because a server may have chosen it.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `text`, made [`printable`], followed by its remedy if there is one.
pub(crate) fn with_remedy(text: &str) -> String {
    let remedy = REMEDIES.iter().find(|(sign, _)| text.to_lowercase().contains(&sign.to_lowercase()));
    match remedy {
        Some((_, remedy)) => format!("{}; {remedy}", printable(text)),
        None => printable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_server_is_printable_and_bounded() {
        let names = "; certificate is only valid for \u{1b}[2J; ".repeat(100);
        for (error, end) in [
            (
                format!("invalid peer certificate: certificate not valid for name \"dns.example\"{names}"),
                "after `#`",
            ),
            (format!("invalid peer certificate: UnknownIssuer{names}"), "set by `upstream.roots`"),
        ] {
            let shown = with_remedy(&error);
            assert!(!shown.contains('\u{1b}'), "{shown}");
            assert!(shown.ends_with(end), "{shown}");
            assert!(shown.chars().count() < MAX_SHOWN + 100, "{}", shown.chars().count());
        }
    }
}
