//! Errors and warnings about settings and other files, with file, line, caret and hint.

mod diagnostic;
mod faults;
pub mod limit;
mod report;
mod section;
mod source;
mod spelling;
mod value_error;

pub use diagnostic::{Diagnostic, Severity};
pub(crate) use faults::Faults;
pub use report::{MAX_DRAWN, Report, read_source, source_of};
pub(crate) use section::Section;
pub use source::Source;
pub(crate) use spelling::suggest;
pub use value_error::ValueError;
