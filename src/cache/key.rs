//! [`Key`]: the key of a cache entry.

use std::hash::{BuildHasher, Hasher};

use crate::policy::AllowedQuery;
use crate::policy::route::RouteId;
use crate::wire::code::Type;
use crate::wire::request::AnswerFlags;

/// Name, type, DO and CD of an allowed query (the class is always IN), and its route: everything that affects an
/// answer. Always compared in full, never by hash alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// The lowercase name in wire format.
    pub(super) name: &'a [u8],
    pub(super) qtype: Type,
    pub(super) flags: AnswerFlags,
    pub(super) route: RouteId,
}

impl<'q> From<&'q AllowedQuery<'_>> for Key<'q> {
    fn from(query: &'q AllowedQuery<'_>) -> Self {
        let question = query.question();
        Self {
            name: question.name.as_bytes(),
            qtype: question.qtype,
            flags: query.flags(),
            route: query.route(),
        }
    }
}

impl Key<'_> {
    /// A hash whose 64 bits are all used, each for one purpose.
    pub(super) fn hash(&self, state: &impl BuildHasher) -> u64 {
        let mut hasher = state.build_hasher();
        hasher.write(self.name);
        hasher.write_u32(
            u32::from(self.route.0) << 18 | u32::from(self.qtype.0) << 2 | self.flag_bits() as u32,
        );
        hasher.finish()
    }

    /// DO and CD as two bits.
    pub(super) fn flag_bits(&self) -> u64 {
        u64::from(self.flags.dnssec_ok) | u64::from(self.flags.checking_disabled) << 1
    }
}

/// Inverse of [`Key::flag_bits`].
pub(super) fn flags_of(bits: u64) -> AnswerFlags {
    AnswerFlags { dnssec_ok: bits & 1 != 0, checking_disabled: bits & 2 != 0 }
}
