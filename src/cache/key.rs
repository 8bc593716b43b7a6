//! [`Key`]: what an answer is kept under.

use std::hash::{Hash, Hasher};

use quick_cache::Equivalent;

use crate::policy::AllowedQuery;
use crate::wire::code::Type;
use crate::wire::request::AnswerFlags;

/// Name, type, DO and CD of an allowed query; compared in full, never by hash alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    name: Box<[u8]>,
    qtype: Type,
    flags: AnswerFlags,
}

/// The same, borrowed from a query.
#[derive(Clone, Copy, Debug)]
pub struct KeyRef<'q> {
    name: &'q [u8],
    qtype: Type,
    flags: AnswerFlags,
}

impl<'q> From<&'q AllowedQuery<'_>> for KeyRef<'q> {
    fn from(query: &'q AllowedQuery<'_>) -> Self {
        let question = query.question();
        Self { name: question.name.as_bytes(), qtype: question.qtype, flags: query.flags() }
    }
}

impl From<&AllowedQuery<'_>> for Key {
    fn from(query: &AllowedQuery<'_>) -> Self {
        let borrowed = KeyRef::from(query);
        Self { name: borrowed.name.into(), qtype: borrowed.qtype, flags: borrowed.flags }
    }
}

impl Key {
    fn borrowed(&self) -> KeyRef<'_> {
        KeyRef { name: &self.name, qtype: self.qtype, flags: self.flags }
    }

    /// The folded name in wire format.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Bytes on the heap.
    pub fn heap_size(&self) -> usize {
        self.name.len()
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.borrowed().hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
        self.qtype.hash(state);
        self.flags.hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.name == &*key.name && self.qtype == key.qtype && self.flags == key.flags
    }
}
