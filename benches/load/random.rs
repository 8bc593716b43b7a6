//! [`Random`]: generated names, the same on every run.

/// A pseudo-random sequence (SplitMix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

const PUBLIC_SUFFIXES: [&str; 16] = [
    "com", "net", "org", "io", "dev", "app", "ai", "eu", "de", "fr", "nl", "co.uk", "com.au", "co.jp",
    "com.br", "gov.uk",
];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// A name for an allowlist: one to three labels of letters below a public suffix.
    pub(crate) fn listed_name(&mut self) -> String {
        self.name("")
    }

    /// The same, but never covered by a [`Random::listed_name`]: the label next to the public suffix begins with a
    /// digit.
    pub(crate) fn unlisted_name(&mut self) -> String {
        self.name("0")
    }

    fn name(&mut self, mark: &str) -> String {
        let mut name = String::new();
        for _ in 0..self.below(3) {
            self.push_label(&mut name);
            name.push('.');
        }
        name.push_str(mark);
        self.push_label(&mut name);
        name.push('.');
        name.push_str(PUBLIC_SUFFIXES[self.below(PUBLIC_SUFFIXES.len() as u64) as usize]);
        name
    }

    fn push_label(&mut self, name: &mut String) {
        for _ in 0..5 + self.below(8) {
            name.push(char::from(b'a' + self.below(26) as u8));
        }
    }
}
