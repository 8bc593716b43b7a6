//! [`LetterCase`]: random letter case of a query name ("0x20", draft-vixie-dnsext-dns0x20-00).

/// Random upper and lower case, one bit per letter for up to 64 letters. A server that echoes the name byte for byte
/// has seen the query; an off-path attacker has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterCase(u64);

impl LetterCase {
    /// The case from `bits`: a letter's bit is its offset within the name, modulo 64.
    pub fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// Applies the case to `name`, a folded name in wire format.
    ///
    /// A length byte is at most 63, below every letter, so only letters change.
    pub fn apply(self, name: &mut [u8]) {
        for (place, byte) in name.iter_mut().enumerate() {
            *byte = self.of(place, *byte);
        }
    }

    /// True if `echoed` is the folded `name` in this case.
    pub fn is_of(self, echoed: &[u8], name: &[u8]) -> bool {
        echoed.len() == name.len()
            && echoed.iter().zip(name).enumerate().all(|(place, (echo, byte))| *echo == self.of(place, *byte))
    }

    fn of(self, place: usize, byte: u8) -> u8 {
        if self.0 >> (place % 64) & 1 == 1 { byte.to_ascii_uppercase() } else { byte }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_change_and_nothing_else_does() {
        let name = b"\x03www\x09a-1.z[`{@\x02ms\0";
        let mut sent = *name;
        LetterCase::new(u64::MAX).apply(&mut sent);
        assert_eq!(&sent, b"\x03WWW\x09A-1.Z[`{@\x02MS\0");
        assert!(LetterCase::new(u64::MAX).is_of(&sent, name) && LetterCase::new(0).is_of(name, name));
        assert!(!LetterCase::new(u64::MAX).is_of(name, name) && !LetterCase::new(0).is_of(&sent, name));
        assert!(!LetterCase::new(0).is_of(&name[1..], name));
    }

    #[test]
    fn every_bit_has_its_letter() {
        let name = [b'a'; 200];
        for bit in 0..64 {
            let mut sent = name;
            LetterCase::new(1 << bit).apply(&mut sent);
            let upper: Vec<usize> = (0..200).filter(|place| sent[*place] == b'A').collect();
            assert_eq!(upper, (0..200).filter(|place| place % 64 == bit).collect::<Vec<_>>());
        }
    }
}
