//! [`Label`]: the words for values of a fixed list, in metrics, logs and messages.

/// A value of a fixed list, with a word for each: derived by `strum::IntoStaticStr`. `strum::VariantArray` lists the values in the
/// order of their counters, `strum::VariantNames` the words.
pub trait Label: Copy + Into<&'static str> {
    /// The word.
    fn label(self) -> &'static str {
        self.into()
    }
}

impl<T: Copy + Into<&'static str>> Label for T {}
