//! [`WebhookSecret`]: signs messages as Standard Webhooks says (HMAC-SHA256, version `v1`).

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::util::secret_file::{SecretFile, SecretFileError};

static FILE: SecretFile = SecretFile {
    what: "the webhook's secret file",
    setting: "`webhook.secret_file`",
    make: "echo whsec_$(openssl rand -base64 32)",
};

/// Block size of SHA-256 in bytes.
const BLOCK: usize = 64;

/// The key of the signatures. It is never shown.
#[derive(Clone)]
pub(super) struct WebhookSecret {
    key: Vec<u8>,
}

impl WebhookSecret {
    /// Reads the secret.
    ///
    /// Errors: the file cannot be read, other users can read it, or its content is not a secret.
    pub(super) fn read(path: &Path) -> Result<Self, SecretFileError> {
        FILE.read(path, |lines| match lines {
            [line] => Self::parse(line),
            _ => Err("must contain one line".to_owned()),
        })
    }

    fn parse(line: &[u8]) -> Result<Self, String> {
        let encoded = line.strip_prefix(b"whsec_").ok_or("does not begin with `whsec_`")?;
        let key = STANDARD.decode(encoded).map_err(|_| "is not Base64 after `whsec_`")?;
        match key.len() {
            24..=64 => Ok(Self { key }),
            length => Err(format!("the secret has {length} bytes, needs 24 to 64")),
        }
    }

    /// The signature of a message, for the header `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: u64, body: &str) -> String {
        let content = format!("{id}.{timestamp}.{body}");
        format!("v1,{}", STANDARD.encode(self.hmac(content.as_bytes())))
    }

    /// HMAC-SHA256 (RFC 2104). The key has at most one block.
    fn hmac(&self, content: &[u8]) -> [u8; 32] {
        let padded = |pad: u8| {
            let mut block = [pad; BLOCK];
            block.iter_mut().zip(&self.key).for_each(|(byte, key)| *byte ^= key);
            block
        };
        let inner = Sha256::new().chain_update(padded(0x36)).chain_update(content).finalize();
        Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn agrees_with_rfc_4231() {
        let hmac = |key: &[u8], content: &[u8]| {
            let digest = WebhookSecret { key: key.to_vec() }.hmac(content);
            digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        for (key, content, expected) in [
            (
                &[0x0b; 20][..],
                &b"Hi There"[..],
                "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            ),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        ] {
            assert_eq!(hmac(key, content), expected);
        }
    }

    #[test]
    fn only_a_secret_of_standard_webhooks_is_read() {
        for (line, is_good) in [
            ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", false),
            ("whsec_c2hvcnQ=", false),
            ("whsec_?", false),
        ] {
            assert_eq!(WebhookSecret::parse(line.as_bytes()).is_ok(), is_good, "{line}");
        }
        // The example of the reference libraries.
        let secret = WebhookSecret::parse(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
