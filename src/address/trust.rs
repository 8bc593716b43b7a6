//! Why a server is not believed, in words that say what to change.

use std::io;

/// The words for an error of connecting.
pub(crate) fn explain(error: &io::Error) -> String {
    with_remedy(error.to_string())
}

/// What the TLS library says of certificates and handshakes, and what to do about it.
const REMEDIES: [(&str, &str); 7] = [
    (
        "CaUsedAsEndEntity",
        "the server uses a CA's certificate as its own, as `openssl req -x509` makes it unless told otherwise; make it again with \
         `-addext basicConstraints=critical,CA:FALSE`",
    ),
    ("UnknownIssuer", "whose certificates are accepted is set by `roots` in [upstream]"),
    (
        "certificate is not valid for any names",
        "it names the server in its common name alone, which no TLS client looks at; issue it with a subjectAltName",
    ),
    (
        "UnsupportedSignatureAlgorithm",
        "its key or its issuer's is of a kind that is not supported; P-256, P-384, Ed25519 and RSA from 2048 bits are",
    ),
    (
        "HandshakeFailure",
        "client and server have no cipher suite or kind of key in common; certificates with P-256, P-384, Ed25519 or RSA keys \
         from 2048 bits work, P-521 does not",
    ),
    (
        "NoApplicationProtocol",
        "the server does not speak DNS this way on this port: over `https://` it must offer HTTP/2",
    ),
    ("certificate", "whose certificates are accepted is set by `roots` in [upstream]"),
];

/// `text` with the remedy for it, where there is one.
pub(crate) fn with_remedy(text: String) -> String {
    let remedy = REMEDIES.iter().find(|(sign, _)| text.to_lowercase().contains(&sign.to_lowercase()));
    match remedy {
        Some((_, remedy)) => format!("{text}; {remedy}"),
        None => text,
    }
}
