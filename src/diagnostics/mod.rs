//! TODO diagnostics

pub(crate) mod diagnostic;
pub(crate) mod faults;
pub mod limit;
pub(crate) mod report;
pub(crate) mod section;
pub(crate) mod source;
pub(crate) mod spelling;
