//! [`Fields`]: the part of protobuf that dnstap needs (<https://protobuf.dev/programming-guides/encoding/>).

/// Appends the fields of a message.
pub(super) struct Fields<'o>(pub(super) &'o mut Vec<u8>);

impl Fields<'_> {
    /// Appends a uint32, uint64 or enum value.
    pub(super) fn number(&mut self, field: u32, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    /// Appends a fixed32.
    pub(super) fn fixed32(&mut self, field: u32, value: u32) {
        self.key(field, 5);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends bytes, a string or a nested message.
    pub(super) fn bytes(&mut self, field: u32, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
