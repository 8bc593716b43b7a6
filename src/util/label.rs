//! [`Label`]: names of the values of an enum, in metrics, logs and messages.

/// An enum value with a name, derived by `strum::IntoStaticStr`. `strum::VariantArray` lists the values in the order of
/// their counters, `strum::VariantNames` their names.
pub trait Label: Copy + Into<&'static str> {
    /// The name.
    fn label(self) -> &'static str {
        self.into()
    }
}

impl<T: Copy + Into<&'static str>> Label for T {}
