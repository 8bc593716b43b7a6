//! [`CnamePolicy`]: what becomes of aliases in the answers for allowed names.

use serde::{Deserialize, Serialize};

/// What becomes of aliases in the answers for a zone's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CnamePolicy {
    /// The owner of an allowed name may send its clients anywhere: answers are relayed as they are.
    #[default]
    Trust,
    /// Every name that an answer leads to must be allowed too, or the answer is not given.
    Inspect,
    /// Names that an answer leads to are allowed to the same clients while they may remember the answer: for servers
    /// between us and the clients that ask for each of them anew.
    Follow,
}
